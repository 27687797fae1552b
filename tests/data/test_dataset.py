"""What a split and a data set promise, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead._errors import RequestError
from fixhead.data import Dataset, Split
from fixhead.data.dataset import moments


def split(number: int = 6, classes: int = 3, channels: int = 1, size: int = 4) -> Split:
    generator = np.random.default_rng(number)
    images = generator.integers(0, 256, (number, channels, size, size), dtype=np.uint8)
    return Split(images, np.arange(number) % classes)


def dataset(train: Split, test: Split, classes: tuple[str, ...] = ("a", "b", "c")) -> Dataset:
    return Dataset("made", "Made", classes, train, test)


def test_counts_hold_every_class_even_those_without_images() -> None:
    assert split(5, 2).counts(4).tolist() == [3, 2, 0, 0]


def test_take_keeps_the_order_given_and_takes_from_what_was_taken() -> None:
    whole = split(8)
    part = whole.take([7, 2, 5]).take([2, 0])
    np.testing.assert_array_equal(part.images[:], whole.images[[5, 7]])
    np.testing.assert_array_equal(np.asarray(part.images), whole.images[[5, 7]])
    assert part.labels.tolist() == whole.labels[[5, 7]].tolist()
    assert part.images.shape == (2, 1, 4, 4)
    assert len(part) == 2


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([True, False, True, True], "flatnonzero"),
        ([0.0, 1.0], "whole numbers"),
        ([[0, 1]], "whole numbers"),
        ([0, 4], "below 4, got 0 to 4"),
        ([-5], "below 4"),
    ],
)
def test_masks_and_places_that_do_not_exist_are_refused(
    indices: list[object], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        split(4).take(indices)


def test_nothing_can_be_taken() -> None:
    assert len(split(4).take([])) == 0


@settings(deadline=None, max_examples=30)
@given(
    number=st.integers(1, 9),
    channels=st.integers(1, 4),
    size=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_moments_agree_with_float64(number: int, channels: int, size: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (number, channels, size, size), dtype=np.uint8)
    mean, std = moments(images)
    reference = images.astype(np.float64) / 255
    spread = reference.std(axis=(0, 2, 3))
    np.testing.assert_allclose(mean, reference.mean(axis=(0, 2, 3)), atol=1e-12)
    np.testing.assert_allclose(std, np.where(np.ptp(images, axis=(0, 2, 3)) == 0, 1, spread))


def test_moments_do_not_depend_on_the_size_of_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    images = split(50, channels=3).images
    whole = moments(images)
    monkeypatch.setattr("fixhead.data.dataset.CHUNK_BYTES", 100)
    assert moments(images) == whole


def test_a_constant_channel_has_deviation_one() -> None:
    images = np.full((4, 2, 3, 3), 7, dtype=np.uint8)
    assert moments(images)[1] == (1.0, 1.0)


def test_moments_of_features_agree_with_float64() -> None:
    features = np.random.default_rng(0).normal(100, 3, (50, 2)).astype(np.float32)
    features[:, 1] = 0.1
    mean, std = moments(features)
    np.testing.assert_allclose(mean, features.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(std, [features[:, 0].std(dtype=np.float64), 1.0], rtol=1e-12)


def test_sums_of_bright_images_do_not_overflow() -> None:
    images = np.full((1000, 1, 32, 32), 255, dtype=np.uint8)
    assert moments(images)[0] == (1.0,)


def test_another_training_part_brings_its_own_mean() -> None:
    whole = dataset(split(30), split(6))
    dark = Split(np.zeros((3, 1, 4, 4), dtype=np.uint8), np.arange(3))
    changed = whole.with_train(dark, "darkened")
    assert changed.mean == (0.0,)
    assert whole.mean != (0.0,)
    assert changed.notes == ("darkened",)


def test_multi_label_targets_are_refused_by_name() -> None:
    with pytest.raises(RequestError, match=r"multi-label targets are not supported"):
        Split(split(4).images, np.eye(4, dtype=np.int64))


@pytest.mark.parametrize("labels", [np.array([0.0, 1.0]), np.array(["a", "b"]), np.array(1)])
def test_labels_that_are_no_whole_numbers_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(RequestError, match="whole numbers"):
        Split(split(2).images, labels)


def test_one_label_too_few_is_refused() -> None:
    with pytest.raises(RequestError, match=r"one per image = 4, got 3"):
        Split(split(4).images, np.arange(3))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused_with_their_row(bad: float) -> None:
    features = np.ones((4, 2), dtype=np.float32)
    features[2, 1] = bad
    with pytest.raises(RequestError, match="row 2"):
        Split(features, np.zeros(4, dtype=np.int64))


def test_images_of_floating_point_are_refused() -> None:
    with pytest.raises(RequestError, match="uint8"):
        Split(np.zeros((2, 1, 3, 3), dtype=np.float32), np.zeros(2, dtype=np.int64))


def test_one_class_only_is_refused() -> None:
    with pytest.raises(RequestError, match="at least two classes, got 1"):
        dataset(split(4, 1), split(4, 1), classes=("only",))


def test_class_names_that_repeat_are_refused() -> None:
    with pytest.raises(RequestError, match="'a' twice"):
        dataset(split(4), split(4), classes=("a", "b", "a"))


def test_a_part_without_images_is_refused() -> None:
    with pytest.raises(RequestError, match="got none in its test part"):
        dataset(split(4), split(0))


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_out_of_range_are_refused(label: int) -> None:
    wrong = Split(split(2).images, np.array([0, label]))
    with pytest.raises(RequestError, match=rf"from 0 to 2 .* got {label}"):
        dataset(wrong, split(4))


def test_parts_of_different_sizes_are_refused() -> None:
    with pytest.raises(RequestError, match="--image-size"):
        dataset(split(4, size=4), split(4, size=5))

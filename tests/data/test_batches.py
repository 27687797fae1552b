"""What comes out of an epoch: every image once, normalised, in a seeded order."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead._errors import RequestError
from fixhead.data import Batches, Split, augmentation


def split(number: int, channels: int = 3, size: int = 4) -> Split:
    generator = np.random.default_rng(number)
    images = generator.integers(0, 256, (number, channels, size, size), dtype=np.uint8)
    return Split(images, np.arange(number))  # the label tells which image it is


def batches(data: Split, batch_size: int = 4, **options: object) -> Batches:
    channels = data.images.shape[1]
    settings = {"device": "cpu", "seed": 0, "shuffle": True, **options}
    mean = settings.pop("mean", [0.0] * channels)
    std = settings.pop("std", [1.0] * channels)
    return Batches(data, batch_size, mean=mean, std=std, **settings)


@settings(deadline=None, max_examples=50)
@given(number=st.integers(1, 40), batch_size=st.integers(1, 12), shuffle=st.booleans())
def test_every_image_comes_once_with_its_label(number: int, batch_size: int, shuffle: bool) -> None:
    data = split(number)
    made = batches(data, batch_size, shuffle=shuffle)
    epoch = list(made.epoch(0))
    images, labels = (torch.cat(parts) for parts in zip(*epoch, strict=True))
    assert len(epoch) == len(made)
    assert labels.sort().values.tolist() == list(range(number))
    expected = torch.from_numpy(np.asarray(data.images)).float()[labels] / 255
    torch.testing.assert_close(images, expected)


@settings(deadline=None, max_examples=50)
@given(number=st.integers(2, 60), batch_size=st.integers(2, 12))
def test_no_batch_holds_a_single_image(number: int, batch_size: int) -> None:
    sizes = batches(split(number), batch_size).sizes()
    assert min(sizes) > 1
    assert sum(sizes) == number


def test_normalisation_is_per_channel() -> None:
    data = split(10)
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    (images, labels), *_ = batches(data, 10, mean=mean, std=std).epoch(0)
    raw = np.asarray(data.images)[labels.numpy()] / 255
    expected = (raw - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1))
    torch.testing.assert_close(images.double(), torch.from_numpy(expected), atol=1e-6, rtol=0)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64


def test_each_epoch_has_an_order_of_its_own_which_the_seed_repeats() -> None:
    made, again = batches(split(30)), batches(split(30))

    def order(source: Batches, number: int) -> list[int]:
        return torch.cat([labels for _, labels in source.epoch(number)]).tolist()

    assert order(made, 0) != order(made, 1)
    assert order(made, 1) == order(again, 1)  # whether or not epoch 0 was run before
    assert order(batches(split(30), seed=1), 0) != order(made, 0)


def test_without_shuffling_the_order_is_the_splits() -> None:
    labels = torch.cat([labels for _, labels in batches(split(9), shuffle=False).epoch(5)])
    assert labels.tolist() == list(range(9))


def test_augmentation_does_not_change_the_order() -> None:
    plain, augmented = batches(split(20)), batches(split(20), augmentation=augmentation("crop:1"))
    for (images, labels), (changed, same) in zip(plain.epoch(2), augmented.epoch(2), strict=True):
        assert torch.equal(labels, same)
        assert images.shape == changed.shape


def test_a_split_read_from_a_file_gives_the_same_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = split(23)
    np.save(tmp_path / "images.npy", data.images)
    mapped = Split(np.load(tmp_path / "images.npy", mmap_mode="r"), data.labels)
    resident = list(batches(data.take(np.arange(20)), augmentation=augmentation("flip")).epoch(1))
    monkeypatch.setattr("fixhead.data.batches.RESIDENT_BYTES", {"cpu": 0})
    read = list(batches(mapped.take(np.arange(20)), augmentation=augmentation("flip")).epoch(1))
    for (images, labels), (others, same) in zip(resident, read, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, same)


def test_an_epoch_that_is_left_early_leaves_no_thread_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fixhead.data.batches.RESIDENT_BYTES", {"cpu": 0})
    before = threading.active_count()
    epoch = batches(split(40)).epoch(0)
    next(epoch)
    assert threading.active_count() == before + 1
    epoch.close()
    assert threading.active_count() == before


def test_an_image_that_cannot_be_read_stops_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        shape, dtype = (9, 3, 4, 4), np.dtype(np.uint8)

        def __len__(self) -> int:
            return 9

        def __getitem__(self, index: np.ndarray) -> np.ndarray:
            raise RequestError("image 3.png cannot be read")

    monkeypatch.setattr("fixhead.data.batches.RESIDENT_BYTES", {"cpu": 0})
    with pytest.raises(RequestError, match=r"3\.png"):
        list(batches(Split(Broken(), np.arange(9))).epoch(0))


def test_features_are_normalised_without_the_255() -> None:
    features = np.arange(12, dtype=np.float32).reshape(6, 2)
    data = Split(features, np.arange(6))
    (rows, _), *_ = batches(data, 6, shuffle=False, mean=[1.0, 2.0], std=[2.0, 4.0]).epoch(0)
    torch.testing.assert_close(rows, torch.from_numpy((features - [1, 2]) / [2, 4]).float())


def test_epochs_leave_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    for _ in batches(split(9), augmentation=augmentation("crop:1,flip")).epoch(0):
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(RequestError, match="batch_size"):
        batches(split(4), 0)
    with pytest.raises(RequestError, match="one number per channel = 3, got 1"):
        batches(split(4), mean=[0.0])
    with pytest.raises(RequestError, match="above 0"):
        batches(split(4), std=[1.0, 0.0, 1.0])
    features = Split(np.ones((3, 2), dtype=np.float32), np.arange(3))
    with pytest.raises(RequestError, match="feature arrays"):
        batches(features, augmentation=augmentation("flip"))

"""Stratified cuts: disjoint, whole, seeded, and fair to the smallest class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead._errors import RequestError
from fixhead.data import holdout_split, validation_split


def labels_of(counts: list[int]) -> np.ndarray:
    ordered = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(0).permutation(ordered)


@settings(deadline=None, max_examples=60)
@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(lambda c: max(c) > 1),
    fraction=st.floats(0.02, 0.9),
    seed=st.integers(0, 5),
)
def test_every_image_is_in_exactly_one_part(counts: list[int], fraction: float, seed: int) -> None:
    labels = labels_of(counts)
    train, validation = validation_split(labels, fraction=fraction, seed=seed)
    np.testing.assert_array_equal(np.sort([*train, *validation]), np.arange(len(labels)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
    for label, count in enumerate(counts):
        held = int((labels[validation] == label).sum())
        if count < 2:
            assert held == 0
        else:
            assert held == min(max(int(fraction * count + 0.5), 1), count - 1)


def test_a_tenth_of_cifar_is_500_of_every_class() -> None:
    labels = labels_of([5000] * 10)
    _, validation = validation_split(labels, seed=3)
    assert np.bincount(labels[validation]).tolist() == [500] * 10


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    labels = labels_of([50, 20, 3])
    first, again, other = (validation_split(labels, seed=seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.tolist() != other.tolist()


def test_every_image_of_a_class_is_as_likely_to_be_held_out() -> None:
    labels = np.repeat([0, 1], 10)
    times = np.zeros(20)
    for seed in range(400):
        times[validation_split(labels, fraction=0.2, seed=seed)[1]] += 1
    # Binomial(400, 0.2) has deviation 8: five of them either way
    assert times.min() > 40
    assert times.max() < 120


def test_the_held_out_test_part_is_a_fifth_of_every_class() -> None:
    labels = labels_of([100, 50, 5])
    _, test = holdout_split(labels)
    assert np.bincount(labels[test]).tolist() == [20, 10, 1]


def test_splitting_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    validation_split(labels_of([9, 9]), seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_classes_of_one_image_each_cannot_be_split() -> None:
    with pytest.raises(RequestError, match="at least two images"):
        validation_split(np.arange(4), seed=0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_a_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(RequestError, match="between 0 and 1"):
        validation_split(np.zeros(4, dtype=np.int64), fraction=fraction, seed=0)

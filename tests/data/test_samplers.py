"""Balanced and square-root sampling: how often each class and image is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead._errors import RequestError
from fixhead.data import Batches, Split
from fixhead.data.batches import draw_order

COUNTS = np.array([900, 90, 0, 10])
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), COUNTS))


def share(sampling: str, epochs: int = 40) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_order(LABELS, sampling, generator).numpy() for _ in range(epochs)]
    return np.bincount(LABELS[np.concatenate(drawn)], minlength=4) / (1000 * epochs)


def test_each_is_a_permutation() -> None:
    order = draw_order(LABELS, "each", torch.Generator().manual_seed(0))
    assert order.sort().values.tolist() == list(range(1000))


@pytest.mark.parametrize(("sampling", "power"), [("class-balanced", 0.0), ("square-root", 0.5)])
def test_classes_come_as_often_as_their_power_says(sampling: str, power: float) -> None:
    weights = np.where(COUNTS > 0, COUNTS.astype(float) ** power, 0)
    expected = weights / weights.sum()
    # 40,000 draws: five standard deviations
    tolerance = 5 * np.sqrt(0.25 / 40_000)
    np.testing.assert_allclose(share(sampling), expected, atol=tolerance)


def test_the_images_of_a_class_are_drawn_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([draw_order(LABELS, "class-balanced", generator) for _ in range(30)])
    rare = np.bincount(drawn.numpy(), minlength=1000)[LABELS == 3]
    assert rare.sum() == pytest.approx(10_000, abs=500)
    assert rare.min() > 850  # 1000 ± 5 standard deviations of 31
    assert rare.max() < 1160


@settings(deadline=None, max_examples=40)
@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=50),
    sampling=st.sampled_from(["each", "class-balanced", "square-root"]),
)
def test_an_epoch_has_as_many_draws_as_images(labels: list[int], sampling: str) -> None:
    order = draw_order(np.array(labels), sampling, torch.Generator().manual_seed(1))
    assert order.shape == (len(labels),)
    assert int(order.min()) >= 0
    assert int(order.max()) < len(labels)


def test_batches_draw_by_class() -> None:
    split = Split(np.zeros((1000, 1, 1, 1), dtype=np.uint8), LABELS)
    batches = Batches(
        split, 100, device="cpu", mean=[0], std=[1], seed=0, shuffle=True, sampling="class-balanced"
    )
    labels = torch.cat([labels for _, labels in batches.epoch(0)])
    assert len(labels) == 1000
    assert torch.bincount(labels, minlength=4)[3] > 250


def test_unknown_samplings_are_refused() -> None:
    with pytest.raises(RequestError, match="one of each, class-balanced, square-root"):
        draw_order(LABELS, "uniform", torch.Generator())
    split = Split(np.zeros((1000, 1, 1, 1), dtype=np.uint8), LABELS)
    options = {"device": "cpu", "mean": [0.0], "std": [1.0], "seed": 0}
    with pytest.raises(RequestError, match="one of each"):
        Batches(split, 100, shuffle=True, sampling="uniform", **options)
    with pytest.raises(RequestError, match="shuffle=True"):
        Batches(split, 9, shuffle=False, sampling="square-root", **options)

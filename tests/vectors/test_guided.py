"""Guided initialisation: who stands beside whom, and how near."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead import RequestError, vectors

F64 = torch.float64
SETTINGS = settings(deadline=None, max_examples=40)


def by_position(classes: int, features: int, **options: object) -> torch.Tensor:
    """Rows in the order of the ring: class k stands at position k when counts fall with k."""
    counts = list(range(classes, 0, -1))
    return vectors.guided(classes, features, counts=counts, dtype=F64, **options)


def test_circular_order_is_sorted_round_the_circle():
    counts = [50, 400, 10, 200]
    assert vectors.ring_positions(counts, "circular", 4).tolist() == [2, 0, 3, 1]


def test_valley_order_is_1_3_5_6_4_2():
    counts = torch.tensor([60, 50, 40, 30, 20, 10])
    positions = vectors.ring_positions(counts, "valley", 6)
    assert positions.argsort().add(1).tolist() == [1, 3, 5, 6, 4, 2]


@SETTINGS
@given(st.lists(st.integers(0, 1000), min_size=2, max_size=40))
def test_valley_has_no_seam(counts: list[int]):
    """Neighbours on the ring are at most two ranks apart; sorted order has one seam of K − 1."""
    K = len(counts)
    ranks = torch.empty(K, dtype=torch.int64)
    ranks[torch.tensor(counts).sort(descending=True, stable=True).indices] = torch.arange(K)
    for order, most in (("valley", 2), ("circular", K - 1)):
        positions = vectors.ring_positions(counts, order, K)
        assert positions.sort().values.tolist() == list(range(K))
        round_the_ring = ranks[positions.argsort()]
        gaps = (round_the_ring - round_the_ring.roll(1)).abs()
        assert int(gaps.max()) <= most


def test_a_shuffled_order_stands_on_the_same_circle_and_follows_its_generator():
    counts = [2**k for k in range(10)]

    def shuffled(seed):
        draws = torch.Generator().manual_seed(seed)
        return vectors.guided(10, 2, counts=counts, order="shuffled", generator=draws, dtype=F64)

    circular = vectors.guided(10, 2, counts=counts, dtype=F64)
    W = shuffled(0)
    assert not torch.equal(W, circular)
    assert not torch.equal(W, shuffled(1))
    assert torch.equal(W, shuffled(0))
    by_angle = [rows[rows.atan2(rows.roll(1, 1))[:, 0].argsort()] for rows in (W, circular)]
    torch.testing.assert_close(*by_angle)


def test_in_the_plane_it_is_the_papers_circle():
    W = by_position(10, 2)
    angles = 2 * math.pi * torch.arange(10, dtype=F64) / 10
    assert torch.allclose(W, torch.stack([angles.cos(), angles.sin()], dim=1), atol=1e-14)


@SETTINGS
@given(st.integers(2, 60), st.integers(2, 70), st.floats(-0.5, 0.95))
def test_cosines_depend_on_the_distance_on_the_ring_and_fall_with_it(
    classes: int, features: int, neighbour: float
):
    W = by_position(classes, features, neighbour=neighbour)
    gram = W @ W.T
    assert torch.allclose(gram.diagonal(), torch.ones(classes, dtype=F64), atol=1e-12)
    for shift in range(classes):  # circulant
        assert torch.allclose(gram.roll((shift, shift), dims=(0, 1)), gram, atol=1e-9)
    half = gram[0, : classes // 2 + 1]
    assert (half.diff() <= 1e-9).all()
    if classes > 2:
        assert torch.allclose(W.mean(dim=0), torch.zeros(features, dtype=F64), atol=1e-9)


def test_neighbours_are_as_near_as_asked_where_there_is_room():
    for neighbour in (0.2, 0.5, 0.8):
        W = by_position(50, 64, neighbour=neighbour)
        assert float(W[0] @ W[1]) == pytest.approx(neighbour, abs=0.02)


def test_closed_form_of_the_kernel():
    """⟨w_i, w_j⟩ = (cos^2M(θ/2) − mean)/(1 − mean): with 8 of 20 dimensions, M = 4."""
    W = by_position(21, 8, neighbour=0.0)
    theta = 2 * math.pi * torch.arange(21, dtype=F64) / 21
    kernel = (theta / 2).cos() ** 8
    expected = (kernel - kernel.mean()) / (1 - kernel.mean())
    assert torch.allclose(W @ W[0], expected, atol=1e-12)


def test_rotation_keeps_cosines_and_is_off_in_the_plane_only():
    plain = by_position(9, 6, rotate=False)
    turned = by_position(9, 6)
    assert torch.allclose(plain @ plain.T, turned @ turned.T, atol=1e-12)
    assert not torch.allclose(plain, turned)
    assert torch.equal(by_position(9, 2), by_position(9, 2, rotate=False))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"counts": [1, 2]}, "classes=3, one each"),
        ({"counts": [1, 2, -3]}, "counts >= 0, got -3"),
        ({"counts": [1.5, 2, 3]}, "whole numbers"),
        ({"counts": ["a", "b", "c"]}, "whole numbers"),
        ({"counts": [[1, 2, 3]]}, "one each"),
        ({"counts": [1, 2, 3], "order": "random"}, "'circular', 'valley' or 'shuffled'"),
        ({"counts": [1, 2, 3], "neighbour": 1}, "neighbour < 1"),
        ({"counts": [1, 2, 3], "rotate": "yes"}, "rotate"),
        ({}, "needs counts"),
    ],
)
def test_counts_that_do_not_fit_are_refused(options, words):
    with pytest.raises(RequestError, match=words):
        vectors.build("guided", 3, 4, **options)


def test_one_feature_is_no_ring():
    with pytest.raises(RequestError, match="features >= 2"):
        vectors.guided(2, 1, counts=[1, 2])

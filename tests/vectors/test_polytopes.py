"""Cube and polygon."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead import RequestError, vectors

F64 = torch.float64


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 200), st.integers(0, 6), st.booleans())
def test_cube_cosines_count_the_digits_that_differ(classes: int, extra: int, rotate: bool):
    m = (classes - 1).bit_length()
    W = vectors.cube(classes, m + extra, rotate=rotate, dtype=F64)
    numbers = torch.arange(classes)
    differing = numbers.unsqueeze(1) ^ numbers
    digits = sum((differing >> bit) & 1 for bit in range(m))
    assert torch.allclose(W @ W.T, 1 - 2 * digits.double() / m, atol=1e-12)


def test_cube_of_all_corners_is_the_cube():
    corners = vectors.cube(8, 3, rotate=False, dtype=F64) * math.sqrt(3)
    assert torch.allclose(corners.abs(), torch.ones(8, 3, dtype=F64))
    assert torch.unique(corners.round(), dim=0).shape[0] == 8


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 500), st.integers(0, 9))
def test_polygon_neighbours_are_two_pi_over_k_apart(classes: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    W = vectors.polygon(classes, 2, generator=generator, dtype=F64)
    neighbours = (W * W.roll(1, dims=0)).sum(dim=1)
    expected = torch.full((classes,), math.cos(2 * math.pi / classes), dtype=F64)
    assert torch.allclose(neighbours, expected, atol=1e-12)


def test_unturned_polygon_starts_on_the_first_axis():
    W = vectors.polygon(4, rotate=False, dtype=F64)
    expected = torch.tensor([[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=F64)
    assert torch.allclose(W, expected, atol=1e-15)


def test_what_does_not_fit_is_refused():
    with pytest.raises(RequestError, match=r"classes <= 2\^features = 8, got classes=9"):
        vectors.cube(9, 3)
    with pytest.raises(RequestError, match="features=2, got features=3"):
        vectors.polygon(5, 3)
    with pytest.raises(RequestError, match="wider dtype"):
        vectors.polygon(5000, 2, dtype=torch.bfloat16)

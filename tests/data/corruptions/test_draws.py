"""Numbers that belong to an image: uniform, normal, and the same in every batch."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fixhead.data.corruptions.filters import FIRST, GOLDEN, SECOND, Draws, _mix


def draws(*indices: int, seed: int = 0, purpose: str = "test") -> Draws:
    return Draws(seed, purpose, torch.tensor(indices))


def splitmix64(state: int) -> int:
    """One output of the published generator, in Python's whole numbers."""
    mask = (1 << 64) - 1
    z = (state + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


@settings(deadline=None, max_examples=60)
@given(state=st.integers(0, (1 << 63) - 1))
def test_the_mixing_is_splitmix64(state: int) -> None:
    mixed = int(_mix(torch.tensor([state]) + GOLDEN)[0])
    assert mixed % (1 << 64) == splitmix64(state)
    assert (FIRST % (1 << 64), SECOND % (1 << 64)) == (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def test_an_image_has_the_same_numbers_in_every_batch() -> None:
    whole = draws(*range(10)).uniform("a", 3, 4)
    part = draws(7, 2).uniform("a", 3, 4)
    assert torch.equal(part, whole[[7, 2]])


def test_seeds_purposes_names_and_images_have_numbers_of_their_own() -> None:
    made = [
        draws(1).uniform("a", 50),
        draws(2).uniform("a", 50),
        draws(1).uniform("b", 50),
        draws(1, seed=1).uniform("a", 50),
        draws(1, purpose="other").uniform("a", 50),
    ]
    rows = torch.cat(made)
    assert len(torch.unique(rows)) == rows.numel()


def test_uniform_numbers_are_uniform_along_images_and_along_pixels() -> None:
    numbers = draws(*range(3000)).uniform("a", 30).numpy()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert stats.kstest(numbers.ravel(), "uniform").pvalue > 1e-3
    for line in (numbers[:, 0], numbers[0], numbers[5]):
        assert stats.kstest(line, "uniform").pvalue > 1e-3
    correlation = np.corrcoef(numbers.T)
    assert np.abs(correlation[~np.eye(30, dtype=bool)]).max() < 5 / np.sqrt(3000)


def test_normal_numbers_are_normal() -> None:
    numbers = draws(*range(2000)).normal("a", 20).numpy()
    assert np.isfinite(numbers).all()
    assert stats.kstest(numbers.ravel(), "norm").pvalue > 1e-3


def test_drawing_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    draws(1, 2).normal("a", 9)
    assert torch.equal(torch.get_rng_state(), before)

"""Guided initialisation: classes of similar size next to each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import default_generator_or
from ._request import check_dtype, check_flag, check_size, stored
from .orthogonal import haar_frame
from .polytopes import circle

_MOST_TERMS = 1 << 24


def guided(
    classes: int,
    features: int,
    *,
    counts: Sequence[int] | Tensor,
    order: str = "circular",
    neighbour: float = 0.5,
    rotate: bool | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Classes on a ring in the order of their counts; cosines fall with the distance on the ring.

    The class at position p of K has the angle θ = 2πp/K. For d = 2, w = (cos θ, sin θ), as the
    paper draws it. For any d,

        w = (√λ_f cos fθ, √λ_f sin fθ)_f,   λ_f ∝ C(2M, M−f),  f = 1 … M,  Σ λ_f = 1,

    so that ⟨w_i, w_j⟩ = (v(θ_i−θ_j) − v̄)/(1 − v̄), v(θ) = cos^2M(θ/2), v̄ its mean: the kernel of
    de la Vallée Poussin without its constant. Chosen because it is the paper's circle at M = 1,
    because it falls all the way from a class to the one opposite (plain Fourier features swing
    up and down), and because M sets how far neighbours are apart. M is the largest for which
    neighbours' cosine is at least ``neighbour`` and the frequencies fit into d dimensions (any M
    fits from d ≥ K − 1 on, where frequencies that agree on the K angles share a dimension).

    Args:
        counts: training images per class (K,).
        order: ``"circular"``: sorted round the ring, which puts the largest class beside the
            smallest at the seam; ``"valley"``: sizes 1, 3, 5, …, 6, 4, 2 round the ring, without
            a seam. The paper's text does not say which it used. ``"shuffled"``: a random order
            on the same ring, to tell the order from the spacing.
        rotate: turn the ring at random; by default for d > 2 only (the paper's angles start at
            0 as drawn here; which direction it started from is not given either).

    Source: de la Calle et al. 2019, section 3.1; the kernel is our choice.

    Raises:
        RequestError: counts that do not match K or are no counts, an unknown order, or arguments
            that make no sense.
    """
    check_size("guided", classes, features)
    check_dtype("guided", dtype)
    if features < 2:
        raise RequestError("guided() needs features >= 2 for a ring, got features=1")
    if isinstance(neighbour, bool) or not -1 <= neighbour < 1:
        raise RequestError(f"guided() needs -1 <= neighbour < 1, got {neighbour!r}")
    if rotate is not None:
        check_flag("guided", "rotate", rotate)
    generator = default_generator_or(generator)
    positions = ring_positions(counts, order, classes, generator=generator)
    rows = _ring(classes, features, neighbour)[positions]
    if rotate or (rotate is None and features > 2):
        frame = haar_frame(features, rows.shape[1], generator)
        rows = rows @ frame.T
    return stored("guided", torch.nn.functional.pad(rows, (0, features - rows.shape[1])), dtype)


def ring_positions(
    counts: Sequence[int] | Tensor,
    order: str,
    classes: int,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Where on the ring each class stands: (K,) a permutation of 0 … K − 1.

    The largest class stands at 0, but in a shuffled order; classes of equal size keep the order of
    their numbers.

    Raises:
        RequestError: as ``guided``.
    """
    sizes = _counts(counts, classes)
    ranked = sizes.sort(descending=True, stable=True).indices
    if order == "circular":
        round_the_ring = ranked
    elif order == "valley":
        round_the_ring = torch.cat([ranked[0::2], ranked[1::2].flip(0)])
    elif order == "shuffled":
        round_the_ring = torch.randperm(classes, generator=default_generator_or(generator))
    else:
        raise RequestError(
            f"guided() needs order as 'circular', 'valley' or 'shuffled', got {order!r}"
        )
    positions = torch.empty_like(round_the_ring)
    positions[round_the_ring] = torch.arange(classes)
    return positions


def _counts(counts: Sequence[int] | Tensor, classes: int) -> Tensor:
    try:
        sizes = torch.as_tensor(counts).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise RequestError(
            f"guided() needs counts as {classes} whole numbers, got {counts!r}"
        ) from None
    if tuple(sizes.shape) != (classes,):
        raise RequestError(
            f"guided() needs counts for classes={classes}, one each, got shape {tuple(sizes.shape)}"
        )
    if sizes.is_floating_point() or sizes.is_complex() or sizes.dtype == torch.bool:
        raise RequestError(f"guided() needs counts as whole numbers, got {sizes.dtype}")
    if bool((sizes < 0).any()):
        raise RequestError(f"guided() needs counts >= 0, got {int(sizes.min())}")
    return sizes


def _ring(classes: int, features: int, neighbour: float) -> Tensor:
    """The vector of every position on the ring, in as many dimensions as it takes."""
    steps = torch.arange(classes)
    powers = folded_spectrum(_terms(classes, features, neighbour), classes)
    pieces = []
    for frequency, power in enumerate(powers.tolist(), start=1):
        wave = circle(steps * frequency % classes, classes) * math.sqrt(power)
        # At half the ring's frequency the sine is 0 at every position.
        pieces.append(wave[:, :1] if 2 * frequency == classes else wave)
    return torch.cat(pieces, dim=1)


def _terms(classes: int, features: int, neighbour: float) -> int:
    """M: the largest that fits with neighbours' cosine at least ``neighbour``; 1 at least."""
    # Below K − 1 dimensions every frequency needs two of its own.
    most = _MOST_TERMS if features >= classes - 1 else features // 2
    low, high = 1, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        near = _neighbour_cosine(middle, classes) >= neighbour
        low, high = (middle, high) if near else (low, middle)
    return low


def _neighbour_cosine(terms: int, classes: int) -> float:
    """(v(2π/K) − v̄)/(1 − v̄) with the mean taken over the K positions."""
    angles = math.pi * torch.arange(classes, dtype=torch.float64) / classes
    kernel = torch.exp(2 * terms * angles.cos().abs().log())
    mean = float(kernel.mean())
    return (float(kernel[1]) - mean) / (1 - mean)


def folded_spectrum(terms: int, classes: int) -> Tensor:
    """λ_f for f = 1 … min(M, ⌊K/2⌋), where f and every frequency equal to ±f mod K are one.

    Computed from the kernel's values at the K positions, of which λ is the cosine transform.
    """
    angles = math.pi * torch.arange(classes, dtype=torch.float64) / classes
    kernel = torch.exp(2 * terms * angles.cos().abs().log())
    transform: Tensor = torch.fft.rfft(kernel).real / classes
    powers = transform[1 : min(terms, classes // 2) + 1].clamp(min=0) * 2
    if terms >= classes / 2 and classes % 2 == 0:
        powers[-1] /= 2
    return powers / powers.sum()

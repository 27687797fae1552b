"""Class vectors at right angles: orthonormal rows, one-hot rows, the orthoplex, the non-negative
ones that features after a ReLU can reach; and the uniformly random frames that rotate them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import default_generator_or
from ._request import check_dtype, check_flag, check_size, stored

_SLIM = 0.8
"""n/d up to which a Gaussian matrix has a condition number below about 20: one pass is enough."""


def haar_frame(features: int, columns: int, generator: torch.Generator) -> Tensor:
    """A Haar-distributed orthonormal frame: (d, n) float64 with QᵀQ = I, n ≤ d.

    Q of A = QR, A Gaussian and R with a positive diagonal; without that sign the distribution is
    that of the library's reflections, not Haar's. R is the Cholesky factor of AᵀA, which takes a
    third of the time of reflections; a square A loses digits that way, and a second pass over Q
    restores them (CholeskyQR2). Where A is too close to singular even for that, reflections.

    Source: Mezzadri 2007, "How to generate random matrices from the classical compact groups";
    Yamamoto et al. 2015, "Roundoff error analysis of the CholeskyQR2 algorithm".
    """
    gaussian = torch.randn(features, columns, generator=generator, dtype=torch.float64)
    rows = _orthonormal_rows(gaussian.T)
    if rows is not None and columns > _SLIM * features:
        rows = _orthonormal_rows(rows)
    return _by_reflections(gaussian) if rows is None else rows.T


def _orthonormal_rows(rows: Tensor) -> Tensor | None:
    """L⁻¹ A of A (n, d) with A Aᵀ = L Lᵀ; None where rounding has eaten that product."""
    factor, failed = torch.linalg.cholesky_ex(rows @ rows.T)
    pivots = factor.diagonal()
    if bool(failed) or bool(pivots.min() < 1e-6 * pivots.max()):
        return None
    solved: Tensor = torch.linalg.solve_triangular(factor, rows, upper=False)
    return solved


def _by_reflections(gaussian: Tensor) -> Tensor:
    q, r = torch.linalg.qr(gaussian)
    frame: Tensor = q * torch.where(r.diagonal() < 0, -1.0, 1.0).to(q.dtype)
    return frame


def orthonormal(
    classes: int,
    features: int,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """W Wᵀ = I_K, rows a Haar-random frame: shape (K, d), K ≤ d.

    Source: Hoffer et al. 2018, section 3 (``Proj`` of their release).

    Raises:
        RequestError: K > d, or arguments that make no sense.
    """
    check_size("orthonormal", classes, features)
    check_dtype("orthonormal", dtype)
    _check_room("orthonormal", classes, features)
    frame = haar_frame(features, classes, default_generator_or(generator))
    return stored("orthonormal", frame.T.contiguous(), dtype)


def one_hot(
    classes: int,
    features: int,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """w_k = e_k: shape (K, d), K ≤ d. A non-negative feature can lie on any of them.

    ``generator`` is not used. Features beyond the K-th take no part; ``nonnegative_orthogonal``
    uses them all.

    Raises:
        RequestError: K > d, or arguments that make no sense.
    """
    check_size("one_hot", classes, features)
    check_dtype("one_hot", dtype)
    _check_room("one_hot", classes, features)
    return torch.eye(classes, features, dtype=dtype)


def nonnegative_orthogonal(
    classes: int,
    features: int,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """W ≥ 0 and W Wᵀ = I_K: shape (K, d), K ≤ d.

    Non-negative rows are orthogonal only where their supports are apart, so every class owns
    ⌊d/K⌋ or ⌈d/K⌉ features, drawn at random, and w_k is 1/√(their number) on them. Cosine 1 with
    every class is within reach of features after a ReLU (about 0.7 for rotated constructions).

    Source: Kim and Kim 2024 (fixed non-negative orthogonal classifier).

    Raises:
        RequestError: K > d, or arguments that make no sense.
    """
    check_size("nonnegative_orthogonal", classes, features)
    check_dtype("nonnegative_orthogonal", dtype)
    _check_room("nonnegative_orthogonal", classes, features)
    shuffled = torch.randperm(features, generator=default_generator_or(generator))
    owner = torch.arange(features) % classes
    sizes = torch.bincount(owner, minlength=classes).double()
    rows = torch.zeros(classes, features, dtype=dtype)
    rows[owner, shuffled] = sizes.rsqrt()[owner].to(dtype)
    return rows


def orthoplex(
    classes: int,
    features: int,
    *,
    rotate: bool = True,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """±q_i of a Haar-random orthonormal basis q: shape (K, d), K ≤ 2d. Cosines are 0 and −1.

    Rows are q_1 … q_d, then −q_1, −q_2, …. No more than d + 1 vectors have a smaller largest
    cosine than 0, so it is the best there is for d + 1 < K ≤ 2d (Rankin 1955). ``rotate=False``
    takes q_i = e_i; features after a ReLU then cannot reach −e_i at all.

    Source: Pernici et al. 2021 (regular polytope networks).

    Raises:
        RequestError: K > 2d, or arguments that make no sense.
    """
    check_size("orthoplex", classes, features)
    check_dtype("orthoplex", dtype)
    check_flag("orthoplex", "rotate", rotate)
    if classes > 2 * features:
        raise RequestError(
            f"orthoplex() needs classes <= 2 * features = {2 * features}, got classes={classes}; "
            "for more classes than that use codes() or spherical_code()"
        )
    # Bases smaller than d are enough for fewer classes.
    count = min(classes, features)
    if rotate:
        basis = haar_frame(features, count, default_generator_or(generator)).T
    else:
        basis = torch.eye(count, features, dtype=torch.float64)
    return stored("orthoplex", torch.cat([basis, -basis])[:classes], dtype)


def _check_room(name: str, classes: int, features: int) -> None:
    if classes > features:
        raise RequestError(
            f"{name}() needs features >= classes = {classes}, got features={features}; "
            + _beyond(name, classes, features)
        )


def _beyond(name: str, classes: int, features: int) -> str:
    if name == "nonnegative_orthogonal":
        return "block_codes() takes more classes, also without negative entries"
    if classes == features + 1:
        return "simplex() takes one class more than features"
    if classes <= 2 * features:
        return "orthoplex() takes up to twice as many classes as features"
    return "for more classes than that use codes() or spherical_code()"

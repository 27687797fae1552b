"""Class vectors at the corners of regular bodies: the simplex, the cube, the polygon."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import default_generator_or
from ._request import check_dtype, check_flag, check_size, stored
from .orthogonal import haar_frame
from .sylvester import bits


def simplex(
    classes: int,
    features: int,
    *,
    rotate: bool = True,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """⟨w_i, w_j⟩ = −1/(K−1) for all i ≠ j, the least possible: shape (K, d), K ≤ d + 1.

    W = V Qᵀ with V (K, K−1) the corners of the simplex in closed form (``max_separation``) and
    Q (d, K−1) a Haar-random frame, so that no class lies along −(1, …, 1), where features after
    a ReLU cannot reach it. ``rotate=False`` gives [V 0] itself.

    Source: Papyan, Han, Donoho 2020; Yang et al. 2022 (there d ≥ K; d = K − 1 suffices).

    Raises:
        RequestError: K > d + 1, or arguments that make no sense.
    """
    check_size("simplex", classes, features)
    check_dtype("simplex", dtype)
    check_flag("simplex", "rotate", rotate)
    if classes > features + 1:
        raise RequestError(
            f"simplex() needs features >= classes - 1 = {classes - 1}, got features={features}; "
            "for more classes than that use codes() or spherical_code()"
        )
    if rotate:
        frame = haar_frame(features, classes - 1, default_generator_or(generator))
        return stored("simplex", _rotated_corners(frame.T), dtype)
    return simplex_corners(classes, features, dtype)


def max_separation(
    classes: int,
    features: int,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The simplex as the recursion of Kasarla et al. leaves it, in closed form, padded with zeros:

    P_k = [[1, −1/k 1ᵀ], [0, √(1−1/k²) P_{k−1}]], columns as vectors: shape (K, d), K ≤ d + 1.

    The first vector is (1, 0, …, 0), and the last ones have no positive entry to speak of: put it
    behind a linear layer (as its authors do), never straight behind a ReLU. ``generator`` is not
    used.

    Source: Kasarla et al. 2022; there d = K − 1 and O(K³) work, here O(Kd).

    Raises:
        RequestError: K > d + 1, or arguments that make no sense.
    """
    check_size("max_separation", classes, features)
    check_dtype("max_separation", dtype)
    if classes > features + 1:
        raise RequestError(
            f"max_separation() needs features >= classes - 1 = {classes - 1}, got features="
            f"{features}; for more classes than that use codes() or spherical_code()"
        )
    # Rows differ by construction: row i alone is positive in column i.
    return simplex_corners(classes, features, dtype)


def simplex_corners(classes: int, features: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """The simplex, lower triangular and padded with zeros: (K, d), every entry rounded once.

    With k = K − 1 and column j = 0 … k−1:
        V_jj = c_j,  V_ij = −c_j/(k−j) for i > j,  0 for i < j,
        c_j² = (k−j)(k+1) / (k (k−j+1)),
    which is the recursion P_k = [[1, −1/k 1ᵀ], [0, √(1−1/k²) P_{k−1}]] with its product of roots
    telescoped.

    Source: Kasarla et al. 2022 (the recursion).
    """
    k = classes - 1
    lengths, below = _corner_columns(k)
    corners = torch.empty(classes, features, dtype=dtype)
    corners[:, :k] = below
    corners.tril_(-1)
    corners.diagonal()[:k] = lengths.to(dtype)
    return corners


def _rotated_corners(frame: Tensor) -> Tensor:
    """V Q for Q (k, d) in O(k·d): below its diagonal every column of V is one number."""
    lengths, below = _corner_columns(len(frame))
    corners = torch.cat([frame * lengths.unsqueeze(1), frame.new_zeros(1, frame.shape[1])])
    corners[1:] += (frame * below.unsqueeze(1)).cumsum(dim=0)
    return corners


def _corner_columns(k: int) -> tuple[Tensor, Tensor]:
    """c_j and −c_j/(k−j) for j = 0 … k−1, (k,) each, float64."""
    left = torch.arange(k, 0, -1, dtype=torch.float64)  # k − j
    lengths = (left * (k + 1) / (k * (left + 1))).sqrt()
    return lengths, -lengths / left


def cube(
    classes: int,
    features: int,
    *,
    rotate: bool = True,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """w_k = (−1)^(binary digits of k) / √m, m = ⌈log₂ K⌉, turned into d dimensions at random.

    Shape (K, d), K ≤ 2^d. Corners that differ in one digit have cosine 1 − 2/m: few features
    suffice for many classes, but far less apart than ``spherical_code`` puts them.
    ``rotate=False`` gives the corners themselves, padded with zeros.

    Source: Pernici et al. 2021 (there K = 2^m only, with logits left over otherwise).

    Raises:
        RequestError: K > 2^d, or arguments that make no sense.
    """
    check_size("cube", classes, features)
    check_dtype("cube", dtype)
    check_flag("cube", "rotate", rotate)
    m = (classes - 1).bit_length()
    if m > features:
        raise RequestError(
            f"cube() needs classes <= 2^features = {2**features}, got classes={classes}; "
            "spherical_code() takes any number of classes"
        )
    corners = (1.0 - 2.0 * bits(torch.arange(classes), m).double()) / math.sqrt(m)
    if rotate:
        frame = haar_frame(features, m, default_generator_or(generator))
        return stored("cube", corners @ frame.T, dtype)
    return stored("cube", torch.nn.functional.pad(corners, (0, features - m)), dtype)


def polygon(
    classes: int,
    features: int = 2,
    *,
    rotate: bool = True,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """w_k = (cos θ_k, sin θ_k), θ_k = 2πk/K + φ: shape (K, 2), any K. Largest cosine cos(2π/K).

    The best there is in the plane. φ is drawn; ``rotate=False`` takes φ = 0.

    Source: Pernici et al. 2021.

    Raises:
        RequestError: d is not 2, a dtype in which neighbours coincide, or other nonsense.
    """
    check_size("polygon", classes, features)
    check_dtype("polygon", dtype)
    check_flag("polygon", "rotate", rotate)
    if features != 2:
        raise RequestError(
            f"polygon() needs features=2, got features={features}; in more dimensions "
            "simplex(), orthoplex() or spherical_code() keep classes further apart"
        )
    phase = 0.0
    if rotate:
        draw = torch.rand(1, generator=default_generator_or(generator), dtype=torch.float64)
        phase = 2 * math.pi * float(draw)
    return stored("polygon", circle(torch.arange(classes), classes, phase), dtype)


def circle(steps: Tensor, classes: int, phase: float = 0.0) -> Tensor:
    """(cos θ, sin θ) at θ = 2π · step/K + φ: (n,) → (n, 2) float64."""
    angles = 2 * math.pi * steps.double() / classes + phase
    return torch.stack([angles.cos(), angles.sin()], dim=1)

"""The regular simplex: every class equally far from every other."""

from __future__ import annotations

import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import default_generator_or
from ._request import check_dtype, check_flag, check_size, stored
from .haar import haar_frame


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

"""Mutually orthogonal class vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import default_generator_or
from ._request import check_dtype, check_size, stored
from .haar import haar_frame


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
    if classes > features:
        hint = (
            "simplex() takes one class more than features"
            if classes == features + 1
            else "for more classes than that use codes() or spherical_code()"
        )
        raise RequestError(
            f"orthonormal() needs features >= classes = {classes}, got features={features}; {hint}"
        )
    frame = haar_frame(features, classes, default_generator_or(generator))
    return stored("orthonormal", frame.T.contiguous(), dtype)

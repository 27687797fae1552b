"""Corners of the cube and of the polygon."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import default_generator_or
from ._request import check_dtype, check_flag, check_size, stored
from .haar import haar_frame
from .walsh import bits


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

"""The constructions by name: what ``build``, the heads and the command line look up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._errors import RequestError
from ._request import check_options, own_options
from .coding import codes
from .forms import algebraic
from .gaussian import random
from .given import given
from .guided import guided
from .orthogonal import nonnegative_orthogonal, one_hot, orthonormal, orthoplex
from .polytopes import cube, polygon
from .simplices import max_separation, simplex
from .spherical import LARGEST, equiangular, spherical_code
from .sylvester import hadamard, next_power_of_two


@dataclass(frozen=True)
class Construction:
    """One way to make class vectors.

    ``accepts`` says in words which (K, d) it takes; ``largest(d)`` is the largest K, None where
    there is no limit.
    """

    make: Callable[..., Tensor]
    formula: str
    source: str
    accepts: str
    largest: Callable[[int], int | None]

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the construction's own options."""
        return tuple(own_options(self.make))


def _coded(d: int) -> int | None:
    """Vectors whose largest |cosine| is a theorem's at d = 2^m; elsewhere it is measured."""
    if d != next_power_of_two(d):
        return None
    return max(family.largest or 0 for family in algebraic(d.bit_length() - 1))


CONSTRUCTIONS: dict[str, Construction] = {
    "random": Construction(
        random,
        "g / ‖g‖, g ~ N(0, I)",
        "Shalev et al. 2020",
        "any K and d (d = 1: K = 2)",
        lambda d: 2 if d == 1 else None,
    ),
    "simplex": Construction(
        simplex,
        "⟨w_i, w_j⟩ = −1/(K−1)",
        "Yang et al. 2022",
        "K ≤ d + 1",
        lambda d: d + 1,
    ),
    "max_separation": Construction(
        max_separation,
        "the simplex, triangular: P_k = [[1, −1/k 1ᵀ], [0, √(1−1/k²) P_{k−1}]]",
        "Kasarla et al. 2022",
        "K ≤ d + 1",
        lambda d: d + 1,
    ),
    "orthonormal": Construction(
        orthonormal, "W Wᵀ = I", "Hoffer et al. 2018", "K ≤ d", lambda d: d
    ),
    "hadamard": Construction(
        hadamard,
        "± rows of a Hadamard matrix / √d",
        "Hoffer et al. 2018",
        "K ≤ the power of two at or above d",
        next_power_of_two,
    ),
    "one_hot": Construction(one_hot, "e_k", "common usage", "K ≤ d", lambda d: d),
    "nonnegative_orthogonal": Construction(
        nonnegative_orthogonal, "W ≥ 0, W Wᵀ = I", "Kim and Kim 2024", "K ≤ d", lambda d: d
    ),
    "orthoplex": Construction(
        orthoplex, "± an orthonormal basis", "Pernici et al. 2021", "K ≤ 2d", lambda d: 2 * d
    ),
    "cube": Construction(
        cube, "(±1, …, ±1)/√m, m = ⌈log₂ K⌉", "Pernici et al. 2021", "K ≤ 2^d", lambda d: 1 << d
    ),
    "polygon": Construction(
        polygon,
        "(cos 2πk/K, sin 2πk/K)",
        "Pernici et al. 2021",
        "d = 2, any K",
        lambda d: None if d == 2 else 0,
    ),
    "equiangular": Construction(
        equiangular,
        "min max |⟨w_i, w_j⟩|",
        "Shen, Sun, Wei 2023 (EBV)",
        f"K ≤ {LARGEST:,}, d ≥ 2",
        lambda d: LARGEST if d > 1 else 0,
    ),
    "spherical_code": Construction(
        spherical_code,
        "min max ⟨w_i, w_j⟩",
        "Mettes et al. 2019",
        f"K ≤ {LARGEST:,} (d = 1: K = 2)",
        lambda d: LARGEST if d > 1 else 2,
    ),
    "codes": Construction(
        codes,
        "rows of H D_b / √d, D_b = diag (−1)^q_b",
        "Gold 1968; Kerdock 1972; Delsarte, Goethals 1975",
        "K with a largest |cosine| ≤ 0.5; proved at d = 2^m up to d³ (m odd), d³/4 (m even)",
        _coded,
    ),
    "guided": Construction(
        guided,
        "similar counts side by side on a ring",
        "de la Calle et al. 2019",
        "any K, d ≥ 2, with counts",
        lambda d: None if d > 1 else 0,
    ),
    "from_tensor": Construction(
        given, "t_k / ‖t_k‖", "the caller", "the shape of the tensor", lambda d: None
    ),
}


def build(
    name: str,
    classes: int,
    features: int,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
    **options: Any,
) -> Tensor:
    """The class vectors (K, d) that ``name`` constructs, unit rows on the CPU.

    Raises:
        RequestError: no construction has that name, it has no such option, or it refuses (K, d).
    """
    construction = find(name)
    check_options(name, construction.make, options)
    return construction.make(classes, features, generator=generator, dtype=dtype, **options)


def find(name: str) -> Construction:
    """The entry of ``CONSTRUCTIONS``.

    Raises:
        RequestError: with the list of names.
    """
    if name not in CONSTRUCTIONS:
        raise RequestError(f"vectors must be one of {', '.join(CONSTRUCTIONS)}, got {name!r}")
    return CONSTRUCTIONS[name]

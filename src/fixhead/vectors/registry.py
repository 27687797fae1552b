"""The constructions by name, and the one that is recommended for every (K, d)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .._errors import RequestError
from ._request import check_flag, check_options, check_size, own_options
from .block_codes import block_codes, most_words
from .code_families import algebraic
from .coding import codes, find_code
from .gaussian import random
from .given import given
from .guided import guided, ring_positions
from .orthogonal import nonnegative_orthogonal, one_hot, orthonormal, orthoplex
from .polytopes import cube, max_separation, polygon, simplex
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
    "block_codes": Construction(
        block_codes,
        "one 1/√n in each of n blocks of q features, where a polynomial over GF(q) says",
        "Reed, Solomon 1960; Kautz, Singleton 1964",
        "K ≤ q^n with a prime power q, n ≤ q and q n ≤ d",
        most_words,
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


QUICK = 500
"""Classes up to which an optimised code is found in seconds to minutes."""

UNEQUAL = 1.5
"""Largest count over smallest from which classes count as unequal."""


@dataclass(frozen=True)
class Recommendation:
    """A construction by name with its options, and the reason in a clause after "because"."""

    name: str
    classes: int
    features: int
    reason: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(
        self,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """The vectors (K, d)."""
        return build(
            self.name,
            self.classes,
            self.features,
            generator=generator,
            dtype=dtype,
            **self.options,
        )


def best(
    classes: int,
    features: int,
    *,
    nonnegative: bool = False,
    counts: Sequence[int] | Tensor | None = None,
) -> Recommendation:
    """The construction to take for (K, d) when nothing else is known.

    In this order: what non-negative features can reach (K ≤ d); the simplex (K ≤ d + 1); guided
    order in the plane for unequal ``counts``; the orthoplex (K ≤ 2d); the polygon (d = 2); an
    optimised code up to 500 classes; codes from finite fields; an optimised code up to 10,000;
    random directions. Never two equal rows.

    Args:
        nonnegative: whether features have no negative entries (after a ReLU).
        counts: training images per class (K,).

    Raises:
        RequestError: d = 1 and K > 2 (only +1 and −1 exist), counts that do not match K, or
            arguments that make no sense.
    """
    check_size("best", classes, features)
    check_flag("best", "nonnegative", nonnegative)
    unequal = _unequal(counts, classes)
    if features == 1 and classes > 2:
        raise RequestError(
            f"best() needs features >= 2 for more than 2 classes, got classes={classes}, "
            "features=1: one dimension has two directions"
        )
    name, reason, options = _choose(classes, features, nonnegative, unequal)
    if name == "guided":
        options = {"counts": counts, "order": "valley"}
    return Recommendation(name, classes, features, reason, options)


def _choose(K: int, d: int, nonnegative: bool, unequal: bool) -> tuple[str, str, dict[str, Any]]:
    if nonnegative and d >= K:
        reason = "features without negative entries can lie on any of these vectors, and K <= d"
        return "nonnegative_orthogonal", reason, {}
    if d + 1 >= K:
        return "simplex", "K <= d + 1: every class is as far from every other as can be", {}
    if d == 2:
        if unequal:
            reason = "in the plane neighbours compete, and counts are unequal: similar sizes side "
            return "guided", reason + "by side", {}
        if K > 4:
            return "polygon", "d = 2: equal angles are the best there is", {}
    if 2 * d >= K:
        return "orthoplex", "d + 1 < K <= 2d: no vectors have a smaller largest cosine than 0", {}
    return _many(K, d)


def _many(K: int, d: int) -> tuple[str, str, dict[str, Any]]:
    if K <= QUICK:
        return "spherical_code", "K > 2d and few enough classes to optimise", {}
    try:
        code = find_code(K, d)
    except RequestError:
        code = None
    if code is not None:
        how = "proved" if code.proved else "measured"
        return "codes", f"K > 2d: largest |cosine| {code.coherence:.4f}, {how} ({code.name})", {}
    if K <= LARGEST:
        return "spherical_code", "K > 2d and no code from finite fields is within 0.5", {}
    reason = "so many classes in so few dimensions leave no construction that is better"
    return "random", reason, {}


def _unequal(counts: Sequence[int] | Tensor | None, classes: int) -> bool:
    if counts is None:
        return False
    ring_positions(counts, "valley", classes)  # refuses counts that are none
    sizes = torch.as_tensor(counts)
    return float(sizes.max()) > UNEQUAL * float(sizes.min())

"""The constructions by name: what ``build``, the heads and the command line look up."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._errors import RequestError
from .gaussian import random
from .orthogonal import orthonormal
from .simplices import simplex
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
        shared = {"classes", "features", "generator", "dtype"}
        return tuple(name for name in inspect.signature(self.make).parameters if name not in shared)


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
    for option in options:
        if option not in construction.options:
            known = ", ".join(construction.options) or "none"
            raise RequestError(f"{name}() has no option {option!r}; its options: {known}")
    return construction.make(classes, features, generator=generator, dtype=dtype, **options)


def find(name: str) -> Construction:
    """The entry of ``CONSTRUCTIONS``.

    Raises:
        RequestError: with the list of names.
    """
    if name not in CONSTRUCTIONS:
        raise RequestError(f"vectors must be one of {', '.join(CONSTRUCTIONS)}, got {name!r}")
    return CONSTRUCTIONS[name]

"""One recommended construction for every (K, d)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .._errors import RequestError
from ._request import check_flag, check_size
from .coding import find_code
from .guided import ring_positions
from .registry import build
from .spherical import LARGEST

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

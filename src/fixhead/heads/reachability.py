"""Whether features can reach every class at all."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ..logits import unit
from ..many_classes.vectors import ClassVectors

REACH_WARNING = 0.3
"""Below this largest cosine with the worst class, a head on non-negative features warns.

Random directions reach about 0.7, the canonical simplex and the orthoplex 0.
"""


_LOOKED_AT = 64


class ReachabilityWarning(UserWarning):
    """Some class lies where these features cannot go."""


def reachable_nonnegative(vectors: Tensor) -> Tensor:
    """max(‖w_k⁺‖, max_i w_ki) per class (K,): the largest cosine of any x ≥ 0 with unit w_k."""
    rows = unit(vectors.detach().double())
    positive = torch.linalg.vector_norm(rows.clamp(min=0), dim=1)
    return torch.maximum(positive, rows.amax(dim=1))


def warn_if_out_of_reach(vectors: ClassVectors, construction: str) -> None:
    """Warn by name, with the remedy, where non-negative features cannot come near some class.

    Of vectors that are not stored the first and the last are looked at: those of a code are all
    ±1/√d, but for the last.
    """
    classes = torch.arange(vectors.classes)
    if not vectors.stored:
        classes = torch.cat([classes[:1], classes[1:][-_LOOKED_AT:]])
    reach = reachable_nonnegative(vectors.rows(classes, torch.float64))
    worst = int(reach.argmin())
    if float(reach[worst]) >= REACH_WARNING:
        return
    warnings.warn(
        f"features without negative entries (after a ReLU) can have a cosine of at most "
        f"{float(reach[worst]):.2f} with class {worst} of these {construction} vectors; put a neck "
        "between (neck='linear' or 'batchnorm'), rotate the vectors, or take "
        "vectors='nonnegative_orthogonal'",
        ReachabilityWarning,
        stacklevel=3,
    )

"""The automatic scale of an implicit code, at the cost of a few rows' transforms.

As ``fixhead.geometry.scale_auto``: the smallest S at which mean_y p_y(S) reaches a probability,

    p_y(S) = 1 / (1 + Σ_{k ≠ y} e^{S (c_yk − 1)}),   c_yk = ⟨w_y, w_k⟩.

The sum is e^{R − S} with R the rest of a point S·w_y, which costs K log d per class y and never a
product with W. The cosines of a class with a whole block do not depend on its row in its own block,
so that few classes y speak for all; up to 2²³ logits' worth of them are drawn.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import stream
from .vectors import ClassVectors

WORK = 1 << 23
"""Logits in a pass over the drawn classes: a fraction of a second."""

FEWEST = 8
MOST = 4_096
_STEPS = 60
_CLOSE = 1e-7


def scale_auto(vectors: ClassVectors, probability: float = 0.99) -> float:
    """The smallest S at which the mean probability of the own class at x = w_y reaches it.

    Raises:
        RequestError: it is no probability, or no scale reaches it (vectors that coincide).
    """
    if isinstance(probability, bool) or not 0 < probability < 1:
        raise RequestError(f"scale_auto() needs 0 < probability < 1, got {probability!r}")
    labels = _drawn(vectors.classes)
    rows = vectors.rows(labels, torch.float64)
    goal = math.log(probability / (1 - probability))
    start = math.log(vectors.classes - 1) + goal
    return _root(lambda scale: _odds(vectors, rows, labels, scale) - goal, start)


def _drawn(classes: int) -> Tensor:
    count = min(max(WORK // classes, FEWEST), MOST, classes)
    if count == classes:
        return torch.arange(classes)
    return torch.randint(classes, (count,), generator=stream(0, "anchors", classes))


def _odds(vectors: ClassVectors, rows: Tensor, labels: Tensor, scale: float) -> float:
    """The log-odds of mean_y p_y(S): almost straight in S."""
    rest, own = vectors.rest(scale * rows, labels, None)
    gaps = (own - rest).double()
    p, q = gaps.sigmoid().mean(), (-gaps).sigmoid().mean()
    return float((p / q).log())


def _root(function: object, start: float) -> float:
    """Where an increasing, almost straight function crosses 0: secants inside a bracket."""
    assert callable(function)
    low, at_low = 0.0, function(0.0)
    if at_low >= 0:
        return 0.0
    high = start
    while (at_high := function(high)) < 0:
        low, at_low, high = high, at_high, 2 * high
        if high > 1e9:
            raise RequestError(
                "scale_auto() needs vectors that some scale can tell apart, got rows that "
                "coincide; give the scale as a number"
            )
    for _ in range(_STEPS):
        step = low - at_low * (high - low) / (at_high - at_low)
        value = function(step)
        if value < 0:
            low, at_low = step, value
            at_high *= 0.5  # Illinois: else one end of the bracket may never move
        else:
            high, at_high = step, value
            at_low *= 0.5
        if high - low <= _CLOSE * high or abs(value) <= _CLOSE:
            return step
    return high

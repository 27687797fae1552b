"""The automatic scale of an implicit code, at the cost of a few rows' transforms.

As ``fixhead.geometry.scale_auto``: the smallest S at which mean_y p_y(S) reaches a probability,

    p_y(S) = 1 / (1 + Σ_{k ≠ y} e^{S (c_yk − 1)}),   c_yk = ⟨w_y, w_k⟩.

The sum is e^{R − S} with R the negatives' log-sum-exp of a point S·w_y, which costs K log d per
class y and never a product with W. The cosines of a class with a whole block do not depend on its
row in its own block, so that few classes y speak for all; up to 2²² logits' worth of them are
drawn.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import stream
from .vectors import ClassVectors

WORK = 1 << 22
"""Logits in a pass over the drawn classes: a fraction of a second."""

FEW = 32
FEWEST = 2
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
    if vectors.classes * probability <= 1:
        return 0.0
    labels = _drawn(vectors.classes)
    goal = math.log(probability / (1 - probability))
    few = _Anchors(vectors, labels[:: -(-len(labels) // FEW)], goal)
    start = _bracketed(few, math.log(vectors.classes - 1) + goal)
    return _settled(_Anchors(vectors, labels, goal), start, few.slope(start))


class _Anchors:
    """Log-odds of mean_y p_y(S), less the goal: increasing and almost straight in S."""

    def __init__(self, vectors: ClassVectors, labels: Tensor, goal: float) -> None:
        self.vectors, self.labels, self.goal = vectors, labels, goal
        self.rows = vectors.rows(labels, torch.float64)

    def __call__(self, scale: float) -> float:
        lse, target = self.vectors.negatives_lse(scale * self.rows, self.labels, None)
        gaps = (target - lse).double()
        return float((gaps.sigmoid().mean() / (-gaps).sigmoid().mean()).log()) - self.goal

    def slope(self, scale: float) -> float:
        return (self(1.001 * scale) - self(scale)) / (0.001 * scale)


def _drawn(classes: int) -> Tensor:
    count = min(max(WORK // classes, FEWEST), MOST, classes)
    if count == classes:
        return torch.arange(classes)
    return torch.randint(classes, (count,), generator=stream(0, "anchors", classes))


def _bracketed(function: _Anchors, start: float) -> float:
    """Where an increasing function crosses 0: secants inside a bracket."""
    low, at_low = 0.0, -math.log(function.vectors.classes - 1) - function.goal
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
        if abs(value) <= _CLOSE or high - low <= _CLOSE * high:
            return step
        if value < 0:
            low, at_low = step, value
            at_high *= 0.5  # Illinois: else one end of the bracket may never move
        else:
            high, at_high = step, value
            at_low *= 0.5
    return high


def _settled(function: _Anchors, scale: float, slope: float) -> float:
    """The same root of more anchors, from the root and the slope of a few."""
    value = function(scale)
    for _ in range(_STEPS):
        step = -value / slope
        if abs(step) <= _CLOSE * scale:
            break
        before, value = value, function(scale + step)
        slope, scale = (value - before) / step, scale + step
    return scale

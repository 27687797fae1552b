"""Push unit vectors apart until the largest cosine of two of them stops falling.

    F_β(W) = 1/β · log Σ_{i≠j} exp(β ⟨w_i, w_j⟩)          points: the largest cosine
    F_β(W) = 1/β · log Σ_{i≠j} 2 cosh(β ⟨w_i, w_j⟩)       lines: the largest |cosine|

lies above the maximum by at most log(pairs)/β. It is minimised by L-BFGS for β = β₀, 4β₀, 16β₀, …,
each from where the last one ended, in float64 and tile by tile. A small β₀ lets random rows find
their places; a large one keeps what a good start has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_TILE = 1_024
_SHARPEST = 1e8
_ROUNDS = 12
_HISTORY = 10


@dataclass(frozen=True)
class Improved:
    """Rows (K, d) float64, their largest cosine (|cosine| for lines), evaluations spent."""

    rows: Tensor
    largest: float
    steps: int


@dataclass
class _Search:
    """The best rows met so far, and the steps left."""

    lines: bool
    goal: float
    steps: int
    best: Tensor
    largest: float = math.inf
    taken: int = 0

    @property
    def over(self) -> bool:
        return self.taken >= self.steps or self.largest <= self.goal

    def evaluate(self, rows: Tensor, beta: float) -> tuple[float, Tensor]:
        value, gradient, largest = smooth_maximum(rows, beta, lines=self.lines)
        self.taken += 1
        if largest < self.largest:
            self.largest, self.best = largest, rows.clone()
        return value, gradient


def improve(
    rows: Tensor, *, lines: bool, beta: float, goal: float, steps: int, tolerance: float
) -> Improved:
    """Rows (K, d) with a largest cosine no worse than that of the unit rows given.

    Stops at ``goal``, after ``steps`` evaluations of F (a line search may use a few more), or when
    a round in β gains less than ``tolerance`` and log(pairs)/β leaves room for no more than that.
    """
    search = _Search(lines, goal, steps, rows)
    search.evaluate(rows, beta)
    room = 2 * math.log(rows.shape[0])
    while not search.over and beta <= _SHARPEST:
        before = search.largest
        _descend(search, beta)
        if before - search.largest < tolerance and room / beta < tolerance:
            break
        beta *= 4
    return Improved(search.best, search.largest, search.taken)


def _descend(search: _Search, beta: float) -> None:
    """Minimise F_β over free vectors v, w = v/‖v‖, from the best rows so far."""
    free = torch.nn.Parameter(search.best.clone())
    optimiser = torch.optim.LBFGS(
        [free],
        max_iter=max(1, min(search.steps // _ROUNDS, search.steps - search.taken)),
        max_eval=max(1, search.steps - search.taken),
        history_size=_HISTORY,
        tolerance_grad=1e-12,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        with torch.no_grad():
            norms = torch.linalg.vector_norm(free, dim=1, keepdim=True)
            rows = free / norms
            value, gradient = search.evaluate(rows, beta)
            radial = (gradient * rows).sum(dim=1, keepdim=True)
            free.grad = (gradient - radial * rows) / norms
        return torch.tensor(value, dtype=torch.float64)

    take: Callable[[Callable[[], Tensor]], object] = optimiser.step
    take(closure)


def smooth_maximum(rows: Tensor, beta: float, *, lines: bool) -> tuple[float, Tensor, float]:
    """F_β, its gradient with respect to the rows (K, d), and the largest cosine (|cosine|).

    The weights exp(β(c − shift)) are rescaled whenever a tile raises the shift, so that one pass
    is enough and nothing overflows.
    """
    classes = rows.shape[0]
    shift = -math.inf
    total = 0.0
    gradient = torch.zeros_like(rows)
    for start in range(0, classes, _TILE):
        own = rows[start : start + _TILE]
        for column in range(start, classes, _TILE):
            others = rows[column : column + _TILE]
            cosines = own @ others.T
            if column == start:
                cosines.fill_diagonal_(0.0 if lines else -math.inf)
            top = float(cosines.abs().max() if lines else cosines.max())
            if top > shift:
                shrink = math.exp(beta * (shift - top)) if shift > -math.inf else 0.0
                total, shift = total * shrink, top
                gradient *= shrink
            weights = ((cosines - shift) * beta).exp_()
            if column == start:
                weights.fill_diagonal_(0.0)
            mass = pull = weights
            if lines:
                opposite = ((-cosines - shift) * beta).exp_()
                if column == start:
                    opposite.fill_diagonal_(0.0)
                mass, pull = weights + opposite, weights - opposite
            twice = 1.0 if column == start else 2.0
            total += twice * float(mass.sum())
            gradient[start : start + _TILE] += pull @ others
            if column > start:
                gradient[column : column + _TILE] += pull.T @ own
    value = shift + math.log(total) / beta
    return value, gradient * (2 / total), shift

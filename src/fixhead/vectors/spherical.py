"""Optimised vectors for more classes than a closed form holds: spherical codes and lines.

Unit vectors are pushed apart until the largest cosine of two of them stops falling:

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

from .._errors import RequestError
from .._seeds import default_generator_or
from ._request import check_dtype, check_size, stored
from .bounds import coherence_bound, cosine_bound
from .coding import find_code
from .gaussian import random
from .orthogonal import orthonormal, orthoplex
from .polytopes import circle, polygon, simplex

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


LARGEST = 10_000
"""Classes that the search takes; the work of a step grows with K² d."""

_WORK = 5e11
_MOST_STEPS = 1_000
_LEAST_STEPS = 10
_TOLERANCE = 1e-7
_REACHED = 1e-9
_FEW = 500
_STARTS = (4.0, 1.0, 16.0)
_FROM_CODE = 64.0


@dataclass(frozen=True)
class Packing:
    """What was found for (K, d).

    vectors (K, d) float64; ``largest`` their largest cosine (|cosine| for lines); ``bound`` the
    best lower bound known; ``steps`` evaluations spent; ``start`` where the best rows came from;
    ``stopped``: "closed form", "bound reached", "threshold reached" or "search ended".
    """

    vectors: Tensor
    largest: float
    bound: float
    steps: int
    start: str
    stopped: str

    @property
    def gap(self) -> float:
        """No vectors are better by more than this."""
        return max(0.0, self.largest - self.bound)


def spherical_code(
    classes: int,
    features: int,
    *,
    steps: int | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Rows with the smallest largest cosine that we find: shape (K, d), K ≤ 10,000.

    min_W max_{i≠j} ⟨w_i, w_j⟩: closed forms where they are optimal (simplex for K ≤ d + 1,
    orthoplex for K ≤ 2d, polygon for d = 2), else a search in float64 (see ``packing``) from
    random rows and from ``codes``. ``find_packing`` also says how close to the best known bound
    it came.

    Args:
        steps: evaluations per start; by default what 5·10¹¹ products allow, 10 to 1,000.

    Sources: Mettes et al. 2019 (hyperspherical prototypes: the aim); Rankin 1955.

    Raises:
        RequestError: K > 10,000, d = 1 with K > 2, or arguments that make no sense.
    """
    check_dtype("spherical_code", dtype)
    found = find_packing(classes, features, steps=steps, generator=generator)
    return stored("spherical_code", found.vectors, dtype)


def equiangular(
    classes: int,
    features: int,
    *,
    threshold: float | None = None,
    steps: int | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Equiangular basis vectors: |⟨w_i, w_j⟩| as small as we can make it, shape (K, d), K ≤ 10,000.

    min_W max_{i≠j} |⟨w_i, w_j⟩|: orthonormal rows for K ≤ d, the simplex (1/d) for K = d + 1,
    lines at equal angles for d = 2, else the search of ``spherical_code`` on lines.

    Args:
        threshold: the published definition, |⟨w_i, w_j⟩| ≤ α for all pairs: stop once it holds,
            and refuse, with the figure, where it was not reached.
        steps: as for ``spherical_code``.

    Source: Shen, Sun, Wei 2023 (EBV).

    Raises:
        RequestError: K > 10,000, d = 1, a threshold not reached, or arguments that make no sense.
    """
    check_dtype("equiangular", dtype)
    found = find_packing(
        classes, features, lines=True, threshold=threshold, steps=steps, generator=generator
    )
    if threshold is not None and found.largest > threshold:
        raise RequestError(
            f"equiangular() needs all |cosine| <= threshold={threshold:g}, got {found.largest:.4f} "
            f"for classes={classes}, features={features} (none can go below {found.bound:.4f}); "
            "try more features, more steps or another threshold"
        )
    return stored("equiangular", found.vectors, dtype)


def find_packing(
    classes: int,
    features: int,
    *,
    lines: bool = False,
    threshold: float | None = None,
    steps: int | None = None,
    generator: torch.Generator | None = None,
) -> Packing:
    """``spherical_code`` (or, with ``lines``, ``equiangular``) with its bound and its gap."""
    name = "equiangular" if lines else "spherical_code"
    _check(name, classes, features, threshold, steps, lines)
    generator = default_generator_or(generator)
    bound = (coherence_bound if lines else cosine_bound)(classes, features)
    closed = _closed_form(classes, features, lines)
    if closed is not None:
        return Packing(closed(generator), bound, bound, 0, "closed form", "closed form")
    goal = bound + _REACHED if threshold is None else max(threshold, bound + _REACHED)
    best, start, spent = None, "", 0
    for origin, beta, rows in _starts(classes, features, generator):
        found = improve(
            rows,
            lines=lines,
            beta=beta,
            goal=goal,
            steps=steps or _affordable(classes, features),
            tolerance=_TOLERANCE,
        )
        spent += found.steps
        if best is None or found.largest < best.largest:
            best, start = found, origin
        if best.largest <= goal:
            break
    assert best is not None
    return Packing(
        best.rows, best.largest, bound, spent, start, _reason(best, bound, goal, threshold)
    )


def _reason(best: Improved, bound: float, goal: float, threshold: float | None) -> str:
    if best.largest <= bound + _REACHED:
        return "bound reached"
    if threshold is not None and best.largest <= goal:
        return "threshold reached"
    return "search ended"


def _starts(
    classes: int, features: int, generator: torch.Generator
) -> list[tuple[str, float, Tensor]]:
    """(name, first β, rows): few classes from several random places, many from a code if any."""
    starts = []
    try:
        code = find_code(classes, features, generator=generator)
    except RequestError:
        code = None
    if code is not None:
        labels = torch.arange(classes)
        starts.append((code.name, _FROM_CODE, code.vectors.rows(labels, torch.float64)))
    if code is None or classes <= _FEW:
        for number in range(min(10, max(3, _FEW // classes)) if classes <= _FEW else 1):
            rows = random(classes, features, generator=generator, dtype=torch.float64)
            starts.append(("random", _STARTS[number % len(_STARTS)], rows))
    return starts


def _affordable(classes: int, features: int) -> int:
    """Steps of 2 K² d products each (half the cosines, and twice that for the gradient)."""
    return int(min(_MOST_STEPS, max(_LEAST_STEPS, _WORK / (2 * classes**2 * features))))


def _closed_form(
    classes: int, features: int, lines: bool
) -> Callable[[torch.Generator], Tensor] | None:
    """A maker of optimal rows, where one is known."""
    K, d, wide = classes, features, torch.float64
    if lines and d >= K:
        return lambda g: orthonormal(K, d, generator=g, dtype=wide)
    if d + 1 >= K:
        return lambda g: simplex(K, d, generator=g, dtype=wide)
    if lines and d == 2:
        # Lines at π/K; every other one pointing the other way keeps neighbours' cosines negative.
        return lambda g: circle(torch.arange(K) * (K + 1), 2 * K)
    if not lines and 2 * d >= K:
        return lambda g: orthoplex(K, d, generator=g, dtype=wide)
    if d == 2:
        return lambda g: polygon(K, d, generator=g, dtype=wide)
    return None


def _check(
    name: str,
    classes: int,
    features: int,
    threshold: float | None,
    steps: int | None,
    lines: bool,
) -> None:
    check_size(name, classes, features)
    if features == 1 and (lines or classes > 2):
        raise RequestError(
            f"{name}() needs features >= 2, got features=1: there are no more than two directions "
            "in one dimension, on one line; simplex() takes two classes"
        )
    if classes > LARGEST:
        raise RequestError(
            f"{name}() needs classes <= {LARGEST}, got classes={classes}; use codes() or random()"
        )
    if threshold is not None and (isinstance(threshold, bool) or not 0 < threshold <= 1):
        raise RequestError(f"{name}() needs 0 < threshold <= 1, got {threshold!r}")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise RequestError(f"{name}() needs steps as a whole number above 0, got {steps!r}")

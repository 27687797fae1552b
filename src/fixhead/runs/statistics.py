"""Means, spreads and paired differences over seeds, and how many seeds a claim needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n − 1); no deviation for fewer than two values."""

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True)
class PairedDifference:
    """Mean of a − b over shared seeds, its 95 % interval and the p-value of the paired t-test.

    Interval and p-value are None for fewer than two pairs. Where every difference is the same,
    the interval is that point; p is then 1 for a zero difference, and None (the test is undefined)
    for any other.
    """

    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of at least one value."""
    array = np.asarray(values, dtype=np.float64)
    std = float(array.std(ddof=1)) if array.size > 1 else None
    return Spread(float(array.mean()), std, array.size)


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % t interval of the mean, mean ± t_{0.975, n−1} · s / √n; None for n < 2."""
    measured = spread(values)
    if measured.std is None:
        return None
    half = _t_quantile(measured.n - 1) * measured.std / math.sqrt(measured.n)
    return measured.mean - half, measured.mean + half


def paired_difference(a: Sequence[float], b: Sequence[float]) -> PairedDifference:
    """The paired t interval and test of a − b; a and b run over the same seeds in one order.

    mean ± t_{0.975, n−1} · s / √n, with s the standard deviation of the differences.
    """
    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    n, mean = differences.size, float(differences.mean())
    if n < 2:
        return PairedDifference(mean, None, None, None, n)
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    # Differences of accuracies are exact fractions but for rounding in the last place.
    if error <= 1e-15:
        return PairedDifference(mean, mean, mean, 1.0 if abs(mean) <= 1e-15 else None, n)
    half = _t_quantile(n - 1) * error
    p_value = float(2 * stdtr(n - 1, -abs(mean) / error))
    return PairedDifference(mean, mean - half, mean + half, p_value, n)


@dataclass(frozen=True)
class FewRunsRange:
    """The range (largest minus smallest) that so few runs have, and its middle.

    width, middle: means over every choice of so many of our runs. The intervals are 95 % bootstrap
    intervals (percentiles of every draw with replacement); None for fewer than two runs of ours.
    """

    width: float
    middle: float
    width_interval: tuple[float, float] | None
    middle_interval: tuple[float, float] | None


def range_of_few(values: Sequence[float], runs: int = 3) -> FewRunsRange:
    """What ``runs`` of our runs show from the smallest to the largest.

    A range grows with the number of runs, so that a printed one is held against ours of as many.
    All n^runs draws are taken, none at random; for n > 15 of three runs the first 15 values.
    """
    few = min(runs, len(values))
    chosen = np.asarray([*combinations(values, few)], dtype=np.float64)
    drawn = np.asarray([*product(values[:15], repeat=few)], dtype=np.float64)

    def ends(of_draws: np.ndarray[Any, Any]) -> tuple[float, float] | None:
        if len(values) < 2:
            return None
        low, high = np.quantile(of_draws, (0.025, 0.975), method="inverted_cdf")
        return float(low), float(high)

    return FewRunsRange(
        float(np.ptp(chosen, axis=1).mean()),
        float((chosen.max(axis=1) + chosen.min(axis=1)).mean() / 2),
        ends(np.ptp(drawn, axis=1)),
        ends((drawn.max(axis=1) + drawn.min(axis=1)) / 2),
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction over one table; undefined tests stay None and do not count.

    Sorted p_(1) ≤ … ≤ p_(m): adjusted p_(i) = max_{j ≤ i} min(1, (m − j + 1) p_(j)).
    Source: Holm 1979.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, place) in enumerate(known):
        running = max(running, min(1.0, (len(known) - rank) * p))
        adjusted[place] = running
    return adjusted


def _t_quantile(freedom: int) -> float:
    """t_{0.975} of Student's distribution; scipy.stats would take a second more to load."""
    return float(stdtrit(freedom, 0.975))

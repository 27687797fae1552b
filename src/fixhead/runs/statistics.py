"""Means, spreads and paired differences over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


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
    half = float(stats.t.ppf(0.975, n - 1)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return PairedDifference(mean, mean - half, mean + half, p_value, n)


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

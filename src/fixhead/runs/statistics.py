"""Means, spreads and differences over seeds: of two arms, or of many arms and one baseline.

Runs of one seed share data order and first weights, so a figure of arm a and seed s is modelled as

    y_as = μ + α_a + β_s + ε_as,   ε ~ N(0, σ²),

and σ² is estimated from all arms together, with ν = (A − 1)(n − 1) degrees of freedom, where the
paired t-test of one pair has n − 1.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations, product
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln, nctdtrinc, ndtr, stdtr, stdtrit

from .claims import CLAIM_SEEDS, EQUIVALENCE_MARGIN, LEVEL, supports_claim
from .records import Record


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


UNEQUAL_LEVEL = 0.1
"""Below this p-value of ``unequal_variances`` the arms' spreads count as unequal: a higher level
than that of claims, because to overlook unequal spreads makes claims that are not true."""

POWER = 0.8
"""How probable it shall be that a difference which is there is shown."""


@dataclass(frozen=True)
class AgainstBaseline:
    """Every other arm minus the baseline, corrected for that many comparisons.

    test: ``"dunnett"``: simultaneous intervals and p-values on the residuals of arm + seed;
        ``"paired t"``: each pair by itself and p-values after Holm, where the arms' spreads are
        unequal.
    differences: of the other arms in their order.
    deviation: s, the estimate of σ; None for fewer than two seeds.
    unequal: the p-value of the check for unequal spreads; None where there is nothing to check.
    """

    test: str
    differences: tuple[PairedDifference, ...]
    deviation: float | None
    unequal: float | None


def against_baseline(
    values: Sequence[Sequence[float]], baseline: int, *, level: float = UNEQUAL_LEVEL
) -> AgainstBaseline:
    """Compare every arm with one: values (A, n), arms × the seeds that all of them have.

    Dunnett's two-sided comparison in blocks: d_a = ȳ_a − ȳ_0, standard error s √(2/n), and the
    interval d_a ± c s √(2/n) with P(max_a |T_a| ≤ c) = 0.95 for T multivariate t with ν degrees of
    freedom and correlations 1/2. For two arms that is the paired t-test.

    Source: Dunnett 1955, 1964.
    """
    table = np.asarray(values, dtype=np.float64)
    arms, seeds = table.shape
    others = [arm for arm in range(arms) if arm != baseline]
    pairs = tuple(paired_difference(table[arm], table[baseline]) for arm in others)
    if seeds < 2:
        return AgainstBaseline("paired t", pairs, None, None)
    deviation = residual_deviation(table)
    unequal = unequal_variances(table, baseline)
    if unequal is not None and unequal < level:
        adjusted = holm([pair.p_value for pair in pairs])
        held = [replace(pair, p_value=p) for pair, p in zip(pairs, adjusted, strict=True)]
        return AgainstBaseline("paired t", tuple(held), deviation, unequal)
    error = deviation * math.sqrt(2 / seeds)
    freedom, number = (arms - 1) * (seeds - 1), len(others)
    if error > 1e-15:
        half = dunnett_critical(number, freedom) * error
        pairs = tuple(
            PairedDifference(
                pair.mean,
                pair.mean - half,
                pair.mean + half,
                dunnett_p(abs(pair.mean) / error, number, freedom),
                seeds,
            )
            for pair in pairs
        )
    return AgainstBaseline("dunnett", pairs, deviation, unequal)


def equivalence_p(mean: float, error: float, freedom: int, margin: float) -> float:
    """The p-value of two one-sided t-tests that a difference δ lies inside (−Δ, Δ).

    max(P(T > (d + Δ)/s_d), P(T > (Δ − d)/s_d)), with T of Student's t with ν degrees of freedom, d
    the estimate, s_d its standard error and Δ the margin. p < α exactly where the 1 − 2α interval
    of d lies inside. Without an error, 0 inside and 1 elsewhere.

    Source: Schuirmann 1987.
    """
    if error <= 1e-15:
        return 0.0 if abs(mean) < margin else 1.0
    return float(
        max(stdtr(freedom, -(margin + mean) / error), stdtr(freedom, (mean - margin) / error))
    )


def equivalence_to_baseline(
    values: Sequence[Sequence[float]], baseline: int, margin: float, test: str
) -> list[float | None]:
    """For every other arm of values (A, n), in order, the p-value of being within ±``margin`` of
    the baseline, after Holm; with the standard errors of ``against_baseline``'s ``test``. None for
    one seed."""
    table = np.asarray(values, dtype=np.float64)
    arms, seeds = table.shape
    others = [arm for arm in range(arms) if arm != baseline]
    if seeds < 2:
        return [None] * len(others)
    shared = residual_deviation(table) * math.sqrt(2 / seeds)
    found: list[float | None] = []
    for arm in others:
        difference = table[arm] - table[baseline]
        error, freedom = shared, (arms - 1) * (seeds - 1)
        if test == "paired t":
            error, freedom = float(difference.std(ddof=1)) / math.sqrt(seeds), seeds - 1
        found.append(equivalence_p(float(difference.mean()), error, freedom, margin))
    return holm(found)


def residual_deviation(values: Sequence[Sequence[float]] | np.ndarray[Any, Any]) -> float:
    """s = √(Σ ε̂² / ((A − 1)(n − 1))) of values (A, n), A and n at least 2."""
    residuals = _residuals(np.asarray(values, dtype=np.float64))
    arms, seeds = residuals.shape
    return math.sqrt(float(np.square(residuals).sum()) / ((arms - 1) * (seeds - 1)))


def unequal_variances(
    values: Sequence[Sequence[float]] | np.ndarray[Any, Any], baseline: int
) -> float | None:
    """The p-value of a check of the arms' spreads, on residuals, with Q_a = Σ_s ε̂_as².

    Cochran's C = max_a Q_a / Σ_a Q_a, and the baseline's own share Q_0 / Σ_a Q_a, because its runs
    enter every difference; twice the smaller of the two p-values. The residuals of an additive
    model hang together, so both distributions under equal spreads are those of seeded normal draws.
    None for two arms, whose residuals mirror one another, for one seed, and where all residuals
    are 0.

    Simulated with seven arms and three seeds (1,000 times each): any difference is claimed that is
    not there in 5 % where spreads are equal, 11 % where one arm spreads threefold, 13 % where that
    is the baseline (17 % by C alone); with five seeds in 5, 7 and 5 %.

    Source: Cochran 1941, for independent groups.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.shape[0] < 3 or table.shape[1] < 2:
        return None
    squares = np.square(_residuals(table)).sum(axis=1)
    if float(squares.sum()) <= 1e-24:
        return None
    shares = squares / squares.sum()
    largest, of_one = _shares_under_equality(*table.shape)
    found = ((largest, shares.max()), (of_one, shares[baseline]))
    least = min((1 + int((drawn >= one - 1e-12).sum())) / (1 + drawn.size) for drawn, one in found)
    return min(1.0, 2 * least)


@lru_cache(maxsize=64)
def _shares_under_equality(
    arms: int, seeds: int, draws: int = 4_000
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Draws of the largest share of the squares, and of the first arm's."""
    noise = np.random.default_rng([arms, seeds]).standard_normal((draws, arms, seeds))
    squares = np.square(_residuals(noise)).sum(axis=2)
    shares = squares / squares.sum(axis=1, keepdims=True)
    return shares.max(axis=1), shares[:, 0]


def _residuals(table: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """ε̂ = y − ȳ_a − ȳ_s + ȳ over the last two axes."""
    by_arm = table - table.mean(axis=-1, keepdims=True)
    residuals: np.ndarray[Any, Any] = by_arm - by_arm.mean(axis=-2, keepdims=True)
    return residuals


def dunnett_p(t: float, comparisons: int, freedom: int) -> float:
    """P(max_j |T_j| > t) of m comparisons with one baseline, correlations 1/2.

    T_j = (Z_j − Z_0)/(√2 s), Z standard normal, s² = χ²_ν/ν; hence, given Z_0 = z and s, the T_j
    are independent, and P = E[1 − (Φ(z + √2 t s) − Φ(z − √2 t s))^m]. The two integrals are
    trapezoidal sums, which converge exponentially fast here: over z, and over log s.
    """
    z, weights_z, s, weights_s = _nodes(freedom)
    reach = math.sqrt(2) * t * s[:, None]
    # Φ(z + r) − Φ(z − r) is 1 less two tails, which keeps small probabilities exact.
    tails = ndtr(-(z + reach)) + ndtr(z - reach)
    with np.errstate(divide="ignore"):
        outside = -np.expm1(comparisons * np.log1p(-tails))
    return float(min(1.0, weights_s @ outside @ weights_z))


@lru_cache(maxsize=64)
def dunnett_critical(comparisons: int, freedom: int, level: float = 0.05) -> float:
    """The c with P(max_j |T_j| > c) = level."""
    low = float(stdtrit(freedom, 1 - level / 2))  # one comparison
    high = float(stdtrit(freedom, 1 - level / (2 * comparisons))) + 1e-9  # Bonferroni's
    if comparisons == 1:
        return low
    return float(brentq(lambda c: dunnett_p(c, comparisons, freedom) - level, low, high))


@lru_cache(maxsize=16)
def _nodes(freedom: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Nodes and weights over z ~ N(0, 1) and s = √(χ²_ν/ν)."""
    z = np.linspace(-8.5, 8.5, 69)
    log_s = np.linspace(-1 - 36 / freedom, math.log1p(80 / freedom) / 2, 161)
    log_density = (
        freedom / 2 * math.log(freedom / 2)
        + math.log(2)
        - gammaln(freedom / 2)
        + freedom * log_s
        - freedom / 2 * np.exp(2 * log_s)
    )
    weights_z, weights_s = np.exp(-z * z / 2), np.exp(log_density)
    return z, weights_z / weights_z.sum(), np.exp(log_s), weights_s / weights_s.sum()


def detectable(
    deviation: float, arms: int, seeds: int, *, power: float = POWER, test: str = "dunnett"
) -> float:
    """The difference to a baseline that is shown with this probability, in ``deviation``'s unit.

    δ = λ σ √(2/n), where λ is the noncentrality at which a noncentral t with ν degrees of freedom
    exceeds the critical value with probability ``power``: Dunnett's; for ``"paired t"`` with
    n − 1 degrees of freedom Holm's first, at 0.05/(A − 1). A and n at least 2.
    """
    freedom = (arms - 1) * (seeds - 1)
    if test == "paired t":
        freedom = seeds - 1
        critical = float(stdtrit(freedom, 1 - 0.025 / (arms - 1)))
    else:
        critical = dunnett_critical(arms - 1, freedom)
    return float(nctdtrinc(freedom, 1 - power, critical)) * deviation * math.sqrt(2 / seeds)


MOST_SEEDS = 100


def seeds_needed(deviation: float, arms: int, difference: float) -> int | None:
    """The least number of seeds, from 3 up, that shows this difference; None above 100."""
    every = range(3, MOST_SEEDS + 1)
    place = bisect_left(every, -difference, key=lambda n: -detectable(deviation, arms, n))
    return every[place] if place < len(every) else None


def held_against(
    arms: Sequence[Record], metric: str, baseline: str, margin: float = EQUIVALENCE_MARGIN
) -> Record | None:
    """The arms of a results.json minus one of them, over the seeds that all of them finished.

    Arms that share too few finished seeds with it (three, or all that it has) are left out, and
    named. ``detectable`` is the difference that so many seeds show with probability 0.8, at the
    spread that these runs have. ``practically_equal`` is an arm that an equivalence test shows to
    be within ±``margin`` of the baseline. None where nothing can be compared.
    """
    measured = {
        arm["head"]: dict(zip(arm[metric]["seeds"], arm[metric]["values"], strict=True))
        for arm in arms
    }
    own = measured.get(baseline, {}).keys()
    least = max(1, min(CLAIM_SEEDS, len(own)))
    heads = [head for head, values in measured.items() if len(values.keys() & own) >= least]
    seeds = sorted(set(own).intersection(*(measured[head] for head in heads)))
    if len(heads) < 2 or not seeds:
        return None
    table = [[measured[head][seed] for seed in seeds] for head in heads]
    found = against_baseline(table, heads.index(baseline))
    others = [head for head in heads if head != baseline]
    deviation = found.deviation
    equal = equivalence_to_baseline(table, heads.index(baseline), margin, found.test)
    return {
        "baseline": baseline,
        "test": found.test,
        "n": len(seeds),
        "deviation": deviation,
        "unequal_p_value": found.unequal,
        "margin": margin,
        "detectable": detectable(deviation, len(heads), len(seeds), test=found.test)
        if deviation
        else None,
        "arms": [
            {
                "head": head,
                "difference": {
                    "mean": one.mean,
                    "ci95": None if one.low is None else [one.low, one.high],
                },
                "p_value": one.p_value,
                "equivalence_p_value": p,
                "practically_equal": p is not None and p < LEVEL and supports_claim(len(seeds)),
            }
            for head, one, p in zip(others, found.differences, equal, strict=True)
        ],
        "left_out": [head for head, values in measured.items() if head not in heads],
    }


def _t_quantile(freedom: int) -> float:
    """t_{0.975} of Student's distribution; scipy.stats would take a second more to load."""
    return float(stdtrit(freedom, 0.975))

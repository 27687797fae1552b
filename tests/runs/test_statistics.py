import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fixhead.runs.claims import supports_claim
from fixhead.runs.statistics import (
    against_baseline,
    detectable,
    dunnett_critical,
    dunnett_p,
    equivalence_p,
    equivalence_to_baseline,
    held_against,
    holm,
    mean_interval,
    paired_difference,
    residual_deviation,
    seeds_needed,
    spread,
    unequal_variances,
)

values = st.floats(0, 1).map(lambda x: round(x, 4))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(values, values), min_size=2, max_size=12))
def test_paired_difference_agrees_with_scipy(pairs):
    a, b = zip(*pairs, strict=True)
    found = paired_difference(a, b)
    differences = [x - y for x, y in pairs]
    if max(differences) - min(differences) < 1e-9:
        return
    theirs = stats.ttest_rel(a, b)
    interval = theirs.confidence_interval(0.95)
    assert found.p_value == pytest.approx(float(theirs.pvalue), rel=1e-6, abs=1e-12)
    assert found.low == pytest.approx(float(interval.low), abs=1e-9)
    assert found.high == pytest.approx(float(interval.high), abs=1e-9)


def test_one_pair_has_a_difference_and_no_interval():
    found = paired_difference([0.75], [0.5])
    assert (found.mean, found.low, found.high, found.p_value, found.n) == (
        0.25,
        None,
        None,
        None,
        1,
    )


def test_equal_runs_have_p_one():
    assert paired_difference([0.5, 0.7, 0.9], [0.5, 0.7, 0.9]).p_value == 1.0


def test_the_same_difference_in_every_seed_has_no_t_test():
    found = paired_difference([0.5, 0.75], [0.25, 0.5])
    assert found.p_value is None
    assert found.low == found.mean == found.high == 0.25


def test_holm_agrees_with_the_worked_example_of_its_definition():
    # m = 4: 0.01·4, 0.02·3, 0.03·2 (held at 0.06), 0.04·1 (held at 0.06)
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_holm_leaves_undefined_tests_out_of_the_count():
    assert holm([None, 0.01, 0.03]) == [None, pytest.approx(0.02), pytest.approx(0.03)]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_lies_between_the_raw_value_and_bonferroni(p_values):
    for raw, adjusted in zip(p_values, holm(p_values), strict=True):
        assert raw <= adjusted <= min(1.0, raw * len(p_values)) or math.isclose(raw, adjusted)


def test_spread_is_the_sample_standard_deviation():
    found = spread([0.5, 0.6, 0.7])
    assert found.mean == pytest.approx(0.6)
    assert found.std == pytest.approx(0.1)
    assert spread([0.5]).std is None


@settings(deadline=None, max_examples=50)
@given(st.lists(values, min_size=2, max_size=12))
def test_the_interval_of_a_mean_agrees_with_scipy(measured):
    if max(measured) - min(measured) < 1e-9:
        return
    theirs = stats.ttest_1samp(measured, 0.0).confidence_interval(0.95)
    assert mean_interval(measured) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_one_value_has_no_interval():
    assert mean_interval([0.5]) is None


def test_a_claim_needs_three_runs():
    assert [supports_claim(runs) for runs in range(5)] == [False, False, False, True, True]


def arms_and_seeds(arms, seeds, generator, deviations=None):
    """Made figures, whose seeds differ by more than the arms' noise."""
    deviations = np.ones(arms) if deviations is None else np.asarray(deviations)
    shared = 3 * generator.standard_normal(seeds)
    return shared + deviations[:, None] * generator.standard_normal((arms, seeds))


@pytest.mark.parametrize(("comparisons", "freedom"), [(1, 2), (2, 4), (5, 10), (11, 60)])
def test_dunnetts_p_is_that_of_scipys_multivariate_t(comparisons, freedom):
    half = 0.5 * (np.eye(comparisons) + np.ones((comparisons, comparisons)))
    theirs = stats.multivariate_t(shape=half, df=freedom, seed=1)
    for t in (1.5, dunnett_critical(comparisons, freedom)):
        limit = np.full(comparisons, t)
        inside = theirs.cdf(limit, lower_limit=-limit, maxpts=20_000)
        assert dunnett_p(t, comparisons, freedom) == pytest.approx(1 - inside, abs=1e-3)


@pytest.mark.parametrize("freedom", [1, 2, 4, 12, 60])
def test_a_critical_value_is_exceeded_once_in_twenty(freedom):
    values = [dunnett_critical(comparisons, freedom) for comparisons in (1, 2, 6, 20)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(stats.t.ppf(0.975, freedom))
    for comparisons, value in zip((1, 2, 6, 20), values, strict=True):
        assert dunnett_p(value, comparisons, freedom) == pytest.approx(0.05, abs=1e-9)
        assert value <= stats.t.ppf(1 - 0.025 / comparisons, freedom) + 1e-9  # Bonferroni's


def test_small_p_values_are_not_lost_to_rounding():
    assert dunnett_p(60.0, 1, 4) == pytest.approx(2 * stats.t.sf(60.0, 4), rel=1e-6)
    assert 0 < dunnett_p(200.0, 6, 12) < 1e-18


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 6), st.integers(0, 99))
def test_two_arms_are_compared_by_the_paired_t_test(seeds, seed):
    table = arms_and_seeds(2, seeds, np.random.default_rng(seed))
    (found,) = against_baseline(table, 0).differences
    plain = paired_difference(table[1], table[0])
    assert found.mean == pytest.approx(plain.mean)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), rel=1e-6)
    assert found.p_value == pytest.approx(plain.p_value, rel=1e-6)


def test_the_residuals_are_those_of_a_least_squares_fit_of_arm_and_seed():
    table = arms_and_seeds(4, 3, np.random.default_rng(5))
    rows = [
        [*(float(arm == a) for a in range(4)), *(float(seed == s) for s in range(1, 3))]
        for arm in range(4)
        for seed in range(3)
    ]
    _, squares, rank, _ = np.linalg.lstsq(np.array(rows), table.ravel(), rcond=None)
    assert rank == 6
    assert residual_deviation(table) == pytest.approx(math.sqrt(squares[0] / 6))


def test_an_interval_leaves_zero_out_where_p_is_below_a_twentieth():
    for seed in range(30):
        generator = np.random.default_rng(seed)
        table = arms_and_seeds(5, 3, generator) + 3 * np.arange(5)[:, None]
        found = against_baseline(table, 2)
        if found.test == "dunnett":
            for one in found.differences:
                assert (one.low * one.high > 0) == (one.p_value < 0.05)


def test_a_large_difference_among_seven_arms_is_shown_with_three_seeds():
    """As it was recorded: paired t after Holm over 21 pairs said p = 0.19 to 22 points."""
    generator = np.random.default_rng(0)
    table = arms_and_seeds(7, 3, generator, 2 * np.ones(7))
    table[3] += 22
    found = against_baseline(table, 0)
    assert found.test == "dunnett"
    assert found.differences[2].p_value < 0.001


def test_unequal_spreads_are_held_by_paired_t_tests_after_holm():
    table = arms_and_seeds(6, 5, np.random.default_rng(3), [1, 1, 30, 1, 1, 1])
    found = against_baseline(table, 1)
    assert found.unequal < 0.1
    assert found.test == "paired t"
    raw = [stats.ttest_rel(table[arm], table[1]).pvalue for arm in (0, 2, 3, 4, 5)]
    assert [one.p_value for one in found.differences] == pytest.approx(holm(raw))


def test_equal_spreads_are_called_unequal_as_rarely_as_the_level_says():
    generator = np.random.default_rng(1)
    said = [unequal_variances(arms_and_seeds(6, 3, generator), 2) < 0.1 for _ in range(1_000)]
    assert 0.06 < np.mean(said) < 0.11


def test_a_baseline_that_spreads_more_is_seen_more_often_than_another_arm():
    wide = [[4, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 4]]
    seen = []
    for deviations in wide:
        generator = np.random.default_rng(2)
        tables = [arms_and_seeds(6, 3, generator, deviations) for _ in range(300)]
        seen.append(np.mean([unequal_variances(table, 0) < 0.1 for table in tables]))
    assert seen[0] > seen[1] + 0.1
    assert seen[1] > 0.4


def test_two_arms_or_equal_runs_have_no_spreads_to_check():
    assert unequal_variances([[0.1, 0.2], [0.3, 0.1]], 0) is None
    assert unequal_variances([[0.5] * 3] * 3, 0) is None
    found = against_baseline([[0.5] * 3, [0.75] * 3, [0.5] * 3], 0)
    assert [one.p_value for one in found.differences] == [None, 1.0]


def test_one_seed_has_differences_and_no_test():
    found = against_baseline([[0.5], [0.75]], 0)
    assert (found.differences[0].mean, found.differences[0].p_value) == (0.25, None)
    assert found.deviation is None


def error_rate_and_power(arms, seeds, rounds, deviations=None, difference=0.0):
    """How often any difference is claimed that is not there; and the one that is, of the last."""
    generator = np.random.default_rng([arms, seeds, rounds])
    wrong = right = 0
    for _ in range(rounds):
        table = arms_and_seeds(arms, seeds, generator, deviations)
        table[-1] += difference
        shown = [one.p_value < 0.05 for one in against_baseline(table, 0).differences]
        wrong += any(shown if not difference else shown[:-1])
        right += shown[-1]
    return wrong / rounds, right / rounds


def test_simulated_runs_without_a_difference_are_claimed_to_differ_once_in_twenty():
    wrong, _ = error_rate_and_power(6, 3, 300)
    assert wrong == pytest.approx(0.05, abs=0.035)


def test_the_detectable_difference_is_shown_four_times_in_five():
    difference = detectable(1.0, 6, 3)
    _, right = error_rate_and_power(6, 3, 300, difference=difference)
    # A little less: where spreads look unequal, the weaker test stands in.
    assert 0.66 < right < 0.84


@pytest.mark.slow
@pytest.mark.parametrize(("arms", "seeds"), [(3, 3), (7, 5), (12, 3)])
def test_the_error_rate_and_the_power_in_the_long_run(arms, seeds):
    wrong, _ = error_rate_and_power(arms, seeds, 1_500)
    assert wrong == pytest.approx(0.05, abs=0.018)
    _, right = error_rate_and_power(arms, seeds, 700, difference=detectable(1.0, arms, seeds))
    assert 0.67 < right < 0.83


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "place", "most"), [(3, -1, 0.14), (3, 0, 0.165), (5, -1, 0.1), (5, 0, 0.08)]
)
def test_the_error_rate_where_one_arm_spreads_threefold(seeds, place, most):
    deviations = np.ones(7)
    deviations[place] = 3
    wrong, _ = error_rate_and_power(7, seeds, 1_000, deviations)
    assert wrong < most


def test_paired_tests_after_holm_show_less_than_dunnetts_comparison():
    assert detectable(1.0, 2, 3, test="paired t") == pytest.approx(detectable(1.0, 2, 3))
    assert detectable(1.0, 6, 3, test="paired t") > 2 * detectable(1.0, 6, 3)
    # The definition: a noncentral t exceeds Holm's first critical value four times in five.
    shown = detectable(1.0, 6, 4, test="paired t") / math.sqrt(2 / 4)
    critical = stats.t.ppf(1 - 0.025 / 5, 3)
    assert stats.nct.sf(critical, 3, shown) == pytest.approx(0.8, abs=1e-3)


def test_more_seeds_show_smaller_differences():
    shown = [detectable(1.0, 6, seeds) for seeds in range(2, 12)]
    assert shown == sorted(shown, reverse=True)
    assert detectable(0.02, 6, 3) == pytest.approx(0.02 * detectable(1.0, 6, 3))
    needed = seeds_needed(1.0, 6, 1.0)
    assert detectable(1.0, 6, needed) <= 1.0 < detectable(1.0, 6, needed - 1)
    assert seeds_needed(1.0, 6, 0.01) is None


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(values, values), min_size=3, max_size=12), st.floats(0.001, 0.5))
def test_equivalence_is_two_one_sided_tests_and_a_ninety_per_cent_interval_inside(pairs, margin):
    a, b = np.asarray(pairs).T
    differences = a - b
    if np.ptp(differences) < 1e-6:
        return
    [p] = equivalence_to_baseline([b, a], 0, margin, "paired t")
    above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    assert p == pytest.approx(max(above, below), rel=1e-6, abs=1e-12)
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.9)
    if abs(p - 0.05) > 1e-9:
        assert (p < 0.05) == (-margin < low and high < margin)


def test_two_arms_have_one_equivalence_by_either_test():
    table = [[0.5, 0.6, 0.7, 0.9], [0.52, 0.61, 0.7, 0.93]]
    pooled, paired = (
        equivalence_to_baseline(table, 0, 0.05, test) for test in ("dunnett", "paired t")
    )
    assert pooled == pytest.approx(paired)


def test_many_arms_share_their_error_and_are_corrected_after_holm():
    table = np.random.default_rng(3).normal(0.8, 0.01, (4, 6))
    error, freedom = residual_deviation(table) * math.sqrt(2 / 6), 3 * 5
    alone = [
        equivalence_p(float((table[arm] - table[1]).mean()), error, freedom, 0.02)
        for arm in (0, 2, 3)
    ]
    assert equivalence_to_baseline(table, 1, 0.02, "dunnett") == holm(alone)


def test_runs_without_any_spread_are_equal_inside_the_margin_and_not_outside():
    table = [[0.5, 0.6, 0.7], [0.505, 0.605, 0.705], [0.52, 0.62, 0.72]]
    assert equivalence_to_baseline(table, 0, 0.01, "paired t") == [0.0, 1.0]
    assert equivalence_to_baseline([[0.5], [0.5]], 0, 0.01, "paired t") == [None]


def arms_with(values):
    return [
        {"head": head, "test_accuracy": {"values": list(own), "seeds": [*range(len(own))]}}
        for head, own in values.items()
    ]


def test_practically_equal_needs_three_seeds_and_the_margin():
    near = {"a": [0.90, 0.91, 0.92, 0.915], "b": [0.901, 0.911, 0.921, 0.9149]}
    held = held_against(arms_with(near), "test_accuracy", "a")
    assert held["margin"] == 0.01
    [arm] = held["arms"]
    assert arm["practically_equal"]
    assert arm["equivalence_p_value"] < 0.05
    tight = held_against(arms_with(near), "test_accuracy", "a", 0.0005)
    assert not tight["arms"][0]["practically_equal"]
    two = {head: own[:2] for head, own in near.items()}
    assert not held_against(arms_with(two), "test_accuracy", "a")["arms"][0]["practically_equal"]

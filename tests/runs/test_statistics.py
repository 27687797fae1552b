import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fixhead.runs.claims import supports_claim
from fixhead.runs.statistics import (
    holm,
    mean_interval,
    paired_difference,
    spread,
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

"""Figures, verdicts and claims, against numbers worked out by hand or by scipy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fixhead.papers import Claim, Option, Printed, TableEntry
from fixhead.papers.item import NOT_AT_HAND, ComputedCell, recalled
from fixhead.papers.outcome import claims, row


def nothing(load, seed):
    return {}


def cells(n, arm=0):
    return tuple(ComputedCell(nothing, (("arm", arm),), seed) for seed in range(n))


def records(own, values, **more):
    return {
        cell.name: {"status": "done", "value": value, **more}
        for cell, value in zip(own, values, strict=True)
    }


def entry(own, printed=None, **more):
    return TableEntry("row", "column", (Option("", own),), lambda r: r["value"], printed, **more)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0, 1))
def test_the_interval_is_that_of_the_one_sample_t_test(values, theirs):
    own = cells(len(values))
    found = row(entry(own, Printed(theirs)), records(own, values))
    assert found["ours"]["mean"] == pytest.approx(sum(values) / len(values))
    expected = stats.ttest_1samp(values, theirs) if len(set(values)) > 1 else None
    if expected is not None and found["ours"]["std"] > 1e-9:
        low, high = expected.confidence_interval(0.95)
        assert found["difference"]["ci95"] == pytest.approx([low - theirs, high - theirs])


@pytest.mark.parametrize(
    ("values", "printed", "more", "verdict"),
    [
        ([0.904, 0.905, 0.906], Printed(0.905), {}, "reproduced"),
        ([0.90, 0.901, 0.902], Printed(0.95), {}, "not reproduced"),
        ([0.5, 0.7, 0.9], Printed(0.75), {}, "not decided"),
        ([0.5, 0.5], Printed(0.9), {}, "two runs: lead only"),
        ([0.5, 0.5, 0.5], Printed(0.9), {"differs": ("a smaller net",)}, "not comparable"),
        ([0.5, 0.5, 0.5], NOT_AT_HAND, {}, "no printed figure"),
        ([0.5, 0.5, 0.5], None, {}, "no printed figure"),
    ],
)
def test_verdicts(values, printed, more, verdict):
    own = cells(len(values))
    assert row(entry(own, printed, **more), records(own, values))["verdict"] == verdict


def test_an_entry_without_a_finished_run_is_not_run():
    own = cells(2)
    broken = {cell.name: {"status": "failed", "value": 1.0, "error": "no"} for cell in own}
    for found in ({}, broken):
        told = row(entry(own, Printed(0.5)), found)
        assert (told["verdict"], told["ours"]["n"]) == ("not run", 0)


def test_the_option_is_chosen_on_validation_not_on_what_is_shown():
    a, b = cells(2, 0), cells(2, 1)
    found = records(a, [0.9, 0.9], val_accuracy=0.5) | records(b, [0.1, 0.1], val_accuracy=0.6)
    chosen = TableEntry("r", "c", (Option("a", a), Option("b", b)), lambda r: r["value"])
    told = row(chosen, found)
    assert told["ours"]["option"] == "b"
    assert told["ours"]["mean"] == pytest.approx(0.1)


def test_no_option_is_chosen_before_all_were_tried():
    a, b = cells(2, 0), cells(2, 1)
    found = records(a, [0.9, 0.9], val_accuracy=0.5) | records(b[:1], [0.1], val_accuracy=0.6)
    chosen = TableEntry("r", "c", (Option("a", a), Option("b", b)), lambda r: r["value"])
    assert row(chosen, found)["verdict"] == "not run"


def test_a_range_is_largest_minus_smallest():
    own = cells(3)
    told = row(entry(own, Printed(0.17), over="range"), records(own, [0.33, 0.41, 0.5]))
    assert told["ours"]["mean"] == pytest.approx(0.17)
    assert told["ours"]["std"] is None
    assert told["verdict"] == "not decided"


def test_recalled_figures_say_so():
    own = cells(3)
    told = row(entry(own, recalled(67.3)), records(own, [0.67, 0.67, 0.67]))
    assert told["printed"]["source"] == "recalled"


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ([0.5, 0.61, 0.7], [0.4, 0.5, 0.6], "holds here"),
        ([0.4, 0.5, 0.6], [0.5, 0.61, 0.7], "the opposite holds here"),
        ([0.4, 0.7, 0.5], [0.5, 0.6, 0.4], "not shown here: the interval holds zero"),
        ([0.9, 0.9], [0.1, 0.2], "two paired runs: lead only"),
    ],
)
def test_a_claim_is_a_paired_difference(first, second, verdict):
    a, b = cells(len(first), 0), cells(len(second), 1)
    found = records(a, first) | records(b, second)
    told = claims([Claim("first above second", entry(a), entry(b), 0.1)], found)[0]
    assert told["verdict"] == verdict
    if len(first) > 2:
        expected = stats.ttest_rel(first, second)
        assert told["p_value"] == pytest.approx(expected.pvalue)

"""No verdict from a point: three runs, an interval, a tolerance; and what cannot be evidence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fixhead.papers import Claim, Option, Printed, TableEntry
from fixhead.papers.item import NOT_CONVERGED, ComputedCell, Content, percent, recalled
from fixhead.papers.outcome import claims, row, verdict_counts
from fixhead.runs.statistics import range_of_few

DIVERGED = (
    "Traceback (most recent call last):\n"
    "fixhead.training.step.NonFiniteLossError: the training loss became nan at step 5 of epoch 1"
)


def nothing(load, seed):
    return {}


def cells(n, arm=0):
    return tuple(ComputedCell(nothing, (("arm", arm),), seed) for seed in range(n))


def records(own, values):
    """A finished run for a number, a diverged one for None."""
    return {
        cell.name: {"status": "failed", "error": DIVERGED} if value is None
        else {"status": "done", "value": value}
        for cell, value in zip(own, values, strict=True)
    }  # fmt: skip


def judged(values, printed, **more):
    own = cells(len(values))
    entry = TableEntry("r", "c", (Option("", own),), lambda r: r["value"], printed, **more)
    return row(entry, records(own, values))


# --- equivalence ----------------------------------------------------------------------------------


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=8),
    st.floats(0, 1),
    st.floats(0.001, 0.2),
)
def test_reproduced_is_two_one_sided_t_tests_at_two_and_a_half_per_cent(values, theirs, tolerance):
    found = judged(values, Printed(theirs), tolerance=tolerance)
    if found["ours"]["std"] < 1e-6:
        return
    above = stats.ttest_1samp(values, theirs - tolerance, alternative="greater").pvalue
    below = stats.ttest_1samp(values, theirs + tolerance, alternative="less").pvalue
    if min(abs(above - 0.025), abs(below - 0.025)) < 1e-9:
        return
    assert (found["verdict"] == "reproduced") == (max(above, below) < 0.025)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.501, 0.502, 0.503], "reproduced"),
        ([0.48, 0.50, 0.52], "not decided"),  # the very mean, but a wide interval
        ([0.519, 0.52, 0.521], "not reproduced"),
        ([0.512, 0.513, 0.514], "not reproduced"),
        ([0.509, 0.511, 0.513], "not decided"),
        ([0.5, 0.5, 0.5], "not decided"),  # a point is no interval
    ],
)
def test_only_an_interval_inside_the_tolerance_reproduces(values, verdict):
    assert judged(values, Printed(0.5))["verdict"] == verdict


def test_fewer_than_three_runs_are_a_lead_however_near():
    assert judged([0.5], Printed(0.5))["verdict"] == "one run: lead only"
    assert judged([0.5, 0.501], Printed(0.5))["verdict"] == "two runs: lead only"


def test_recalled_figures_are_never_reproduced():
    assert judged([0.501, 0.502, 0.503], recalled(50))["verdict"] == "agrees with a recalled figure"
    assert judged([0.6, 0.601, 0.602], recalled(50))["verdict"] == "differs from a recalled figure"
    assert judged([0.5], recalled(50))["verdict"] == "one run: lead only"


def test_counts_need_one_run_because_they_have_no_spread():
    assert judged([7.0], Printed(7.0), exact=True)["verdict"] == "reproduced"
    assert judged([8.0], Printed(7.0), exact=True)["verdict"] == "not reproduced"
    told = judged([7.0], Printed(7.0, "recalled"), exact=True)
    assert told["verdict"] == "agrees with a recalled figure"


def test_what_cannot_differ_by_construction_counts_once():
    first = judged([0.501, 0.502, 0.503], Printed(0.5))
    again = judged([0.501, 0.502, 0.503], Printed(0.5), same_as="the same computation")
    assert again["verdict"] == "the same by construction"
    assert again["why"] == ["the same computation"]
    assert verdict_counts([first, again])["reproduced"] == 1


def test_a_tolerance_is_recorded_with_its_reason_and_a_remark_stands_beside_the_verdict():
    found = judged(
        [0.6, 0.601, 0.602], Printed(0.5), tolerance_reason="because", remark="under way"
    )
    assert (found["tolerance"], found["tolerance_reason"]) == (0.01, "because")
    assert found["why"] == ["the interval lies outside the tolerance", "under way"]


# --- divergence -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "printed", "verdict"),
    [
        ([None, None, None], NOT_CONVERGED, "reproduced"),
        ([0.7, 0.71, 0.72], NOT_CONVERGED, "not reproduced"),
        ([0.7, None, 0.72], NOT_CONVERGED, "not decided"),
        ([None], NOT_CONVERGED, "one run: lead only"),
        ([None, None, None], percent(70), "not reproduced"),
        ([0.7, None, 0.7], percent(70), "not decided"),
        ([None, None, None], None, "no printed figure"),
    ],
)
def test_divergence_is_a_result_that_confirms_or_refutes(values, printed, verdict):
    found = judged(values, printed)
    assert found["verdict"] == verdict
    assert found["ours"]["diverged"] == values.count(None)


def test_a_run_that_failed_otherwise_is_no_divergence():
    own = cells(3)
    entry = TableEntry("r", "c", (Option("", own),), lambda r: r["value"], NOT_CONVERGED)
    broken = {cell.name: {"status": "failed", "error": "OSError: disk full"} for cell in own}
    assert row(entry, broken)["verdict"] == "not run"


# --- ranges ---------------------------------------------------------------------------------------


def test_the_range_of_three_is_a_mean_over_every_three_of_our_runs():
    three = range_of_few([0.0, 0.1, 0.4, 0.5])
    assert three.width == pytest.approx(np.mean([0.4, 0.5, 0.5, 0.4]))
    assert three.middle == pytest.approx(np.mean([0.2, 0.25, 0.25, 0.3]))


def test_the_intervals_of_a_range_hold_every_draw_with_replacement():
    two = range_of_few([0.0, 1.0], 3)
    assert two.width_interval == (0.0, 1.0)
    assert two.middle_interval == (0.0, 1.0)
    assert range_of_few([0.5], 3).width_interval is None
    few = range_of_few([0.42, 0.49, 0.59])
    assert few.width_interval == pytest.approx((0.0, 0.17))
    assert few.middle_interval == pytest.approx((0.42, 0.59))


def test_random_draws_come_to_the_same_intervals():
    values = np.random.default_rng(0).normal(0.5, 0.05, 10)
    drawn = np.random.default_rng(1).choice(values, (40_000, 3))
    low, high = np.quantile(np.ptp(drawn, axis=1), (0.025, 0.975))
    assert range_of_few(list(values)).width_interval == pytest.approx((low, high), abs=0.01)


def test_a_range_is_held_against_the_papers_in_width_and_in_level():
    printed = Printed(0.17, ends=(0.33, 0.50))
    found = judged([0.42, 0.49, 0.59], printed, over="range", tolerance=0.02)
    assert found["level"]["printed"] == pytest.approx(0.415)
    assert found["level"]["ours"] == pytest.approx(0.505)
    assert found["ours"]["interval"] == pytest.approx([0.0, 0.17])
    assert found["verdict"] == "not decided"
    far = judged([0.82, 0.89, 0.99], printed, over="range", tolerance=0.02)
    assert far["verdict"] == "not reproduced"
    assert any(words.startswith("level: ") for words in far["why"])
    assert "middle of the range 90.5 % here, 41.5 % in the paper" in far["why"]


def test_a_range_without_printed_ends_has_no_level():
    assert judged([0.4, 0.5, 0.6], Printed(0.2), over="range")["level"] is None


# --- claims ---------------------------------------------------------------------------------------


def claimed(first, second, **more):
    a, b = cells(len(first), 0), cells(len(second), 1)
    sides = [
        TableEntry(name, "c", (Option("", own),), lambda r: r["value"])
        for name, own in (("a", a), ("b", b))
    ]
    found = records(a, first) | records(b, second)
    return claims([Claim("a above b", *sides, **more)], found)[0]


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ([0.9], [0.1], "one paired run: lead only"),
        ([0.9, 0.9], [0.1, 0.2], "two paired runs: lead only"),
        ([0.9, 0.9, 0.9], [0.1, 0.1, 0.1], "not decided: equal differences give no interval"),
        ([0.9, 0.9, 0.9], [0.1, 0.2, 0.1], "holds here"),
    ],
)
def test_a_claim_needs_three_pairs_and_an_interval(first, second, verdict):
    assert claimed(first, second)["verdict"] == verdict


def test_a_claim_is_paired_by_seed_and_a_diverged_run_is_left_out():
    found = claimed([0.9, None, 0.8, 0.7], [0.1, 0.2, 0.1, 0.1])
    assert found["n"] == 3
    expected = stats.ttest_rel([0.9, 0.8, 0.7], [0.1, 0.1, 0.1]).confidence_interval(0.95)
    assert found["difference"]["ci95"] == pytest.approx(list(expected))


def test_what_could_not_come_out_otherwise_is_no_evidence():
    found = claimed([1.0, 1.0, 1.0], [0.8, 0.9, 0.7], by_construction="it is a maximum")
    assert found["verdict"] == "holds by construction: it is a maximum"


# --- recipes of what was run ----------------------------------------------------------------------


def test_an_arm_with_settings_of_its_own_has_a_recipe_of_its_own():
    from fixhead.papers.item import only, training_cells
    from fixhead.papers.recipe import PaperRequest, stated

    recipe = stated(paper={"data": "digits"})
    plain = recipe.changed(weight_decay=0.0)
    entries = [
        TableEntry("digits", arm, only(training_cells(PaperRequest(), one, arm)), lambda r: 0.0)
        for arm, one in (("random-dot", recipe), ("random-cosine@1", plain))
    ]
    decay = {
        name: one.described()["weight_decay"]["value"]
        for name, one in Content(entries).recipes.items()
    }
    assert decay == {"digits: random-dot": 5e-4, "digits: random-cosine@1": 0.0}
    assert list(Content(entries[:1]).recipes) == ["all runs"]

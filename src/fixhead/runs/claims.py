"""When runs are enough to claim anything from them, and how it was tested: what results and pages
share."""

from __future__ import annotations

from .records import Record

CLAIM_SEEDS = 3
"""Fewer runs than this, paired ones for a difference, support no claim and no verdict."""


def supports_claim(runs: int) -> bool:
    """Whether so many (paired) runs are enough to claim anything from them."""
    return runs >= CLAIM_SEEDS


LEVEL = 0.05
"""Claims are made below this p-value."""

EQUIVALENCE_MARGIN = 0.01
"""Heads that differ by less than this, a point of accuracy, are practically equal, unless another
margin is said."""


def about_equivalence(against: Record) -> str | None:
    """Which heads were shown to be practically equal to the baseline, within which margin, in a
    sentence; None where that was not tested, or the seeds support no claim."""
    margin = against.get("margin")
    if margin is None or not supports_claim(against["n"]):
        return None
    equal = [arm["head"] for arm in against["arms"] if arm["practically_equal"]]
    what = "another margin is said by --margin"
    within = f"within ±{100 * margin:g} points of {against['baseline']}"
    number = len(against["arms"])
    how = "two one-sided t-tests" + (f", Holm over {number}" if number > 1 else "")
    if not equal:
        return f"No head is shown to be {within} ({how}; {what})."
    return f"Practically equal, {within}: {', '.join(equal)} (p < {LEVEL}, {how}; {what})."


def about_test(against: Record) -> str:
    """How the differences of ``held_against`` were tested, in a sentence."""
    number = len(against["arms"])
    if against["deviation"] is None:
        return f"One seed: differences from {against['baseline']} as they were measured, no test."
    if number == 1 and not against["left_out"]:
        return f"Paired over {against['n']} seeds: the paired t-test."
    if against["test"] == "paired t":
        return (
            f"Paired over {against['n']} seeds; the heads' runs spread unequally "
            f"(p = {against['unequal_p_value']:.2g}), so each is held against "
            f"{against['baseline']} by a paired t-test, p after Holm over {number} comparisons."
        )
    return (
        f"Paired over {against['n']} seeds: Dunnett's comparison of {number} heads with "
        f"{against['baseline']} on the residuals of head + seed; the intervals hold all at once."
    )

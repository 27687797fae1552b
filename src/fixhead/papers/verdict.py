"""Held against the paper's figure: an equivalence test at the stated tolerance, never a point.

*Reproduced*: three runs or more, and the 95 % interval of ours minus the paper's lies inside ± the
tolerance (two one-sided t tests at 2.5 % each; 95 % and not 90 % because it is the interval that
tables print). *Not reproduced*: the interval lies wholly outside. Else nothing is decided. The
paper's figure counts as exact, since it comes without a spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..runs.claims import CLAIM_SEEDS, supports_claim
from .item import TableEntry

NOT_RUN, NO_FIGURE, NOT_COMPARABLE = "not run", "no printed figure", "not comparable"
REPRODUCED, NOT_REPRODUCED, NOT_DECIDED = "reproduced", "not reproduced", "not decided"
AGREES, DISAGREES = "agrees with a recalled figure", "differs from a recalled figure"
SAME = "the same by construction"
COUNT_WORDS = {1: "one run", 2: "two runs"}

Ends = Sequence[float] | None


def lead_only(runs: int) -> str:
    """``"one run: lead only"``."""
    return f"{COUNT_WORDS.get(runs, f'{runs} runs')}: lead only"


def judge(
    entry: TableEntry,
    ours: Mapping[str, Any],
    difference: Mapping[str, Any] | None,
    level: Mapping[str, Any] | None = None,
) -> tuple[str, list[str]]:
    """The verdict on an entry, and why.

    ours: ``n`` finished runs, ``diverged`` ones, their ``mean`` (or range).
    difference: ours minus the paper's, with its ``ci95``; of a range also that of its ``level``.
    """
    remark = [entry.remark] if entry.remark else []
    tried = ours["n"] + ours["diverged"]
    if not tried or (ours["n"] and ours["mean"] is None):
        return NOT_RUN, []
    printed = entry.printed
    if printed is None or (printed.value is None and not printed.diverged):
        return NO_FIGURE, remark
    if entry.differs:
        return NOT_COMPARABLE, [*entry.differs, *remark]
    if entry.same_as:
        return SAME, [entry.same_as, *remark]
    if not entry.exact and not supports_claim(tried):
        return lead_only(tried), [f"a verdict needs {CLAIM_SEEDS} runs", *remark]
    if printed.diverged or ours["diverged"]:
        decided, why = _divergence(printed.diverged, ours["diverged"], tried)
    else:
        assert difference is not None
        decided, why = _equivalence(entry, difference, level)
    if printed.source == "recalled":
        decided = {REPRODUCED: AGREES, NOT_REPRODUCED: DISAGREES}.get(decided, decided)
    return decided, [*why, *remark]


def _divergence(printed: bool, diverged: int, tried: int) -> tuple[str, list[str]]:
    """Training that comes to NaN is a result, too: in the paper, here, or in both."""
    why = [f"{diverged} of {tried} runs diverged here"]
    if diverged in (0, tried):
        return (REPRODUCED if printed == (diverged == tried) else NOT_REPRODUCED), why
    return NOT_DECIDED, why


def _equivalence(
    entry: TableEntry, difference: Mapping[str, Any], level: Mapping[str, Any] | None
) -> tuple[str, list[str]]:
    mean, tolerance = difference["mean"], entry.tolerance
    if entry.exact:
        return (REPRODUCED if abs(mean) <= tolerance else NOT_REPRODUCED), []
    parts = {"range" if entry.over == "range" else "": difference["ci95"]}
    if level is not None:
        parts["level"] = level["difference"]["ci95"]
    found = {name: _against(ends, tolerance) for name, ends in parts.items()}
    why = [f"{name}: {words}" if name else words for name, (_, words) in found.items() if words]
    if level is not None:
        why.append(
            f"middle of the range {100 * level['ours']:.1f} % here, "
            f"{100 * level['printed']:.1f} % in the paper"
        )
    verdicts = {verdict for verdict, _ in found.values()}
    if NOT_REPRODUCED in verdicts:
        return NOT_REPRODUCED, why
    return (REPRODUCED if verdicts == {REPRODUCED} else NOT_DECIDED), why


def _against(ends: Ends, tolerance: float) -> tuple[str, str]:
    if ends is None or ends[0] == ends[1]:
        return NOT_DECIDED, "equal values give no interval"
    low, high = ends
    if -tolerance <= low and high <= tolerance:
        return REPRODUCED, ""
    if high < -tolerance or low > tolerance:
        return NOT_REPRODUCED, "the interval lies outside the tolerance"
    return NOT_DECIDED, "the interval is not inside the tolerance, and not outside it"

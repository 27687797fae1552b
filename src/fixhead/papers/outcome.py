"""From an item's entries and the records of its cells to what results.json holds.

Ours is held against the paper's figure by an equivalence test at the stated tolerance, never by a
point. *Reproduced*: three runs or more, and the 95 % interval of ours minus the paper's lies inside
± the tolerance (two one-sided t tests at 2.5 % each; 95 % and not 90 % because it is the interval
that tables print). *Not reproduced*: the interval lies wholly outside. Else nothing is decided. The
paper's figure counts as exact, since it comes without a spread.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..report.records import settings_of_arms
from ..runs.claims import CLAIM_SEEDS, supports_claim
from ..runs.records import Record
from ..runs.statistics import mean_interval, paired_difference, range_of_few, spread
from ..training.step import NonFiniteLossError
from .item import RANGE_RUNS, Claim, Content, Option, PaperCell, PaperFigure, TableEntry
from .recipe import place

Records = Mapping[str, Record]


def rows(content: Content, records: Records) -> list[dict[str, Any]]:
    """A dict per entry: printed, ours, difference with interval, verdict and why."""
    return [row(entry, records) for entry in content.entries]


def row(entry: TableEntry, records: Records) -> dict[str, Any]:
    option, values = chosen(entry, records)
    ours = _ours(entry, option, values) | {"diverged": diverged_runs(option, records)}
    level = ours.pop("level", None)
    difference = _difference(entry, ours)
    verdict, why = judge(entry, ours, difference, level)
    printed = entry.printed
    return {
        "row": entry.row,
        "column": entry.column,
        "where": entry.row if entry.where is None else entry.where,
        "arm": entry.column if entry.arm is None else entry.arm,
        "metric": entry.metric,
        "unit": entry.unit,
        "over": entry.over,
        "printed": None if printed is None else vars(printed),
        "ours": ours,
        "difference": difference,
        "level": level,
        "tolerance": entry.tolerance,
        "tolerance_reason": entry.tolerance_reason,
        "verdict": verdict,
        "why": why,
        "cells": [cell.name for one in entry.options for cell in one.cells],
    }


def verdict_counts(judged: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How often each verdict was given; what is the same by construction stands apart."""
    return dict(Counter(one["verdict"] for one in judged))


def chosen(entry: TableEntry, records: Records) -> tuple[Option, dict[int, float]]:
    """The option with the best mean validation accuracy, and its values by seed.

    Runs that failed or are still to do are left out; of several options, none is taken before all
    their runs were tried.
    """

    def values(option: Option) -> dict[int, float]:
        read = {
            cell.seed: entry.read(records[cell.name])
            for cell in option.cells
            if cell.name in records and records[cell.name]["status"] == "done"
        }
        return {seed: value for seed, value in read.items() if value is not None}

    if len(entry.options) == 1:
        return entry.options[0], values(entry.options[0])
    if any(cell.name not in records for one in entry.options for cell in one.cells):
        return entry.options[0], {}  # nothing is chosen before every alternative was tried
    best = max(entry.options, key=lambda option: _validation(option, records))
    return best, values(best)


def diverged_runs(option: Option, records: Records) -> int:
    """Runs that a loss without a finite value stopped."""
    rows = [records[cell.name] for cell in option.cells if cell.name in records]
    errors = [str(row["error"]).strip() for row in rows if row["status"] == "failed"]
    return sum(NonFiniteLossError.__name__ in error.rpartition("\n")[2] for error in errors)


def _validation(option: Option, records: Records) -> float:
    known = [
        records[cell.name]["val_accuracy"]
        for cell in option.cells
        if cell.name in records and records[cell.name]["status"] == "done"
    ]
    return sum(known) / len(known) if known else -math.inf


def _ours(entry: TableEntry, option: Option, values: Mapping[int, float]) -> dict[str, Any]:
    base = {
        "n": len(values),
        "values": list(values.values()),
        "seeds": list(values),
        "option": option.label if len(entry.options) > 1 else None,
        "mean": None,
        "std": None,
        "interval": None,
    }
    if not values:
        return base
    if entry.over == "range":
        return base | _range(entry, list(values.values()))
    over, ends = spread(list(values.values())), mean_interval(list(values.values()))
    interval = None if ends is None else list(ends)
    return base | {"mean": over.mean, "std": over.std, "interval": interval}


def _difference(entry: TableEntry, ours: Mapping[str, Any]) -> dict[str, Any] | None:
    """Ours minus the paper's; the interval is that of our mean (theirs is not given)."""
    if entry.printed is None or entry.printed.value is None or ours["mean"] is None:
        return None
    theirs, interval = entry.printed.value, ours["interval"]
    moved = None if interval is None else [end - theirs for end in interval]
    return {"mean": ours["mean"] - theirs, "ci95": moved}


def _range(entry: TableEntry, values: Sequence[float]) -> dict[str, Any]:
    """The range of three of our runs, and its level: the middle between smallest and largest."""
    if len(values) < 2:
        return {}
    three = range_of_few(values, RANGE_RUNS)
    level = None
    if entry.printed is not None and entry.printed.ends is not None:
        theirs = sum(entry.printed.ends) / 2
        ends = three.middle_interval
        level = {
            "printed": theirs,
            "ours": three.middle,
            "difference": {
                "mean": three.middle - theirs,
                "ci95": None if ends is None else [end - theirs for end in ends],
            },
        }
    interval = None if three.width_interval is None else list(three.width_interval)
    return {"mean": three.width, "interval": interval, "level": level}


def trained(content: Content, records: Records) -> dict[str, Any]:
    """What the arms were trained with: settings as the records of their runs hold them.

    Arms of the entries by their names, with the runs of the option that was chosen; further runs of
    figures by data set, network and head. Computations are no training.
    """
    arms: dict[tuple[str, str], dict[str, Record]] = {}
    for entry in content.entries:
        option, _ = chosen(entry, records)
        named = row(entry, {})
        arms.setdefault((named["where"], named["arm"]), _trained_runs(option.cells, records))
    known = {name for runs in arms.values() for name in runs}
    for figure in content.figures:
        for name, run in _trained_runs(figure.cells, records).items():
            if name not in known:
                arms.setdefault((place(run["data"], run["backbone"]), run["head"]), {})[name] = run
    arms = {key: runs for key, runs in arms.items() if runs}
    shared, differing = settings_of_arms([list(runs.values()) for runs in arms.values()])
    return {
        "settings": shared,
        "arms": [
            {"where": where, "arm": arm, "runs": len(runs), "settings": settings}
            for ((where, arm), runs), settings in zip(arms.items(), differing, strict=True)
        ],
    }


def _trained_runs(cells: Sequence[PaperCell], records: Records) -> dict[str, Record]:
    runs = {cell.name: records[cell.name] for cell in cells if cell.name in records}
    return {
        name: run for name, run in runs.items() if run["status"] == "done" and run.get("config")
    }


def claims(asked: Sequence[Claim], records: Records) -> list[dict[str, Any]]:
    """What the paper says of pairs of entries, against our paired differences by seed."""
    return [_claim(one, records) for one in asked]


def _claim(claim: Claim, records: Records) -> dict[str, Any]:
    first = chosen(claim.first, records)[1]
    second = chosen(claim.second, records)[1]
    seeds = sorted(first.keys() & second.keys())
    result: dict[str, Any] = {
        "text": claim.text,
        "first": claim.first.key,
        "second": claim.second.key,
        "unit": claim.first.unit,
        "printed": claim.printed,
        "n": len(seeds),
        "difference": None,
        "p_value": None,
        "verdict": "not run",
    }
    if not seeds:
        return result
    pair = paired_difference([first[s] for s in seeds], [second[s] for s in seeds])
    interval = None if pair.low is None else [pair.low, pair.high]
    result |= {"difference": {"mean": pair.mean, "ci95": interval}, "p_value": pair.p_value}
    if claim.by_construction:
        return result | {"verdict": f"holds by construction: {claim.by_construction}"}
    return result | {"verdict": _claim_verdict(pair.n, interval)}


def _claim_verdict(n: int, interval: Sequence[Any] | None) -> str:
    if not supports_claim(n) or interval is None:
        return lead_only(n).replace("run", "paired run", 1)
    if interval[0] == interval[1]:
        return "not decided: equal differences give no interval"
    if interval[0] > 0:
        return "holds here"
    if interval[1] < 0:
        return "the opposite holds here"
    return "not shown here: the interval holds zero"


def figures(asked: Sequence[PaperFigure], records: Records) -> list[dict[str, Any]]:
    """The data of every figure whose runs are there."""
    drawn = []
    for one in asked:
        known = {cell.name: records[cell.name] for cell in one.cells if cell.name in records}
        data = one.draw({k: v for k, v in known.items() if v["status"] == "done"})
        if data is not None:
            drawn.append(
                {
                    "kind": one.kind,
                    "title": one.title,
                    "measured": one.measured,
                    "printed": one.printed,
                    "data": data,
                }
            )
    return drawn


# --- for a person ---------------------------------------------------------------------------------


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

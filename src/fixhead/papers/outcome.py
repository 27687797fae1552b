"""From an item's entries and the records of its cells to what results.json holds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from ..report.records import settings_of_arms
from ..runs.claims import supports_claim
from ..runs.layout import REPORT_PAGE
from ..runs.records import Record
from ..runs.statistics import (
    mean_interval,
    paired_difference,
    range_of_few,
    spread,
)
from ..training.step import NonFiniteLossError
from .item import RANGE_RUNS, Claim, Content, Option, PaperCell, PaperFigure, TableEntry
from .recipe import place
from .verdict import judge, lead_only

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


def show_items(listed: Sequence[dict[str, Any]]) -> None:
    """Everything that ``fixhead paper`` can run."""
    table = Table("paper", "item", "what", "scales")
    for one in listed:
        table.add_row(one["paper"], one["item"], one["title"], ", ".join(one["scales"]))
    Console(highlight=False).print(table)


def show_paper(results: dict[str, Any], folder: Path) -> None:
    """The table with verdicts, the claims, and where the page lies."""
    console = Console(highlight=False)
    protocol = ", as published (test-chosen)" if results["as_published"] else ""
    console.print(f"{results['paper']} {results['item']}, {results['scale']} scale{protocol}")
    names = (Column("", overflow="fold"), Column("", overflow="fold"))
    table = Table(*names, "paper", "here", "n", "verdict")
    for row in results["rows"]:
        table.add_row(
            row["row"], row["column"], _shown_printed(row), *_shown_ours(row), row["verdict"]
        )
    if results["rows"]:
        console.print(table)
    for claim in results["claims"]:
        console.print(f"· {claim['text']}: {claim['verdict']}", soft_wrap=True)
    done = results["cells"]
    console.print(f"{done['done']} of {done['planned']} cells done")
    console.print(f"The page: {folder / REPORT_PAGE}", soft_wrap=True)


def _shown_printed(row: dict[str, Any]) -> str:
    printed = row["printed"]
    if printed is None:
        return ""
    if printed["value"] is None:
        return printed["note"] or "–"
    mark = " (recalled, unverified)" if printed["source"] == "recalled" else ""
    return _number(printed["value"], row["unit"]) + mark


def _shown_ours(row: dict[str, Any]) -> tuple[str, str]:
    ours = row["ours"]
    if ours["mean"] is None:
        return "–", str(ours["n"])
    text = _number(ours["mean"], row["unit"])
    return text if ours["std"] is None else f"{text} ± {_number(ours['std'], row['unit'])}", str(
        ours["n"]
    )


def _number(value: float, unit: str) -> str:
    return f"{100 * value:.2f} %" if unit == "percent" else f"{value:.3g}"

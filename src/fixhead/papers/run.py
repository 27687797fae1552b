"""``fixhead paper PAPER ITEM``: plan, run what is missing, sum up, write the page."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from .._version import __version__
from ..report.paper_page import write_paper_page
from ..runs.layout import PAPER_SCHEMA, REPORT_PAGE, RESULTS_FILE
from ..runs.pool import Workers
from ..runs.records import Record, write_json
from . import outcome
from .item import Content, Item
from .recipe import PaperRequest
from .registry import build, paper
from .store import PaperStore, share_of


@dataclass(frozen=True)
class RunOptions:
    """How runs are done: on which data and device, which cells, how many at once.

    ``run=False`` runs nothing: the table is made from the runs that are done.
    """

    data_dir: Path | None = None
    device: str = "auto"
    cells: str | None = None
    keep_models: bool = True
    workers: Workers = field(default_factory=Workers)
    run: bool = True


def perform(
    item: Item, request: PaperRequest, folder: Path, options: RunOptions | None = None
) -> dict[str, Any]:
    """The content of ``FOLDER/PAPER-SCALE/ITEM/results.json``, after running what is missing.

    The runs lie in ``FOLDER/PAPER-SCALE/`` and are shared by all items of the paper and scale.
    With ``options.cells`` only those are run, and the table is made from whatever is done.

    Raises:
        RequestError: a scale or protocol that the item does not have; data that are not there.
    """
    options = options or RunOptions()
    content = build(item, request)
    store = _store(item, request, folder, options)
    wanted = share_of(content.cells, options.cells)
    if options.run:
        store.run_missing(wanted)
    results = summarise(item, request, content, store)
    target = store.folder / name_of(item, request)
    target.mkdir(parents=True, exist_ok=True)
    write_json(target / RESULTS_FILE, results, indent=1)
    write_paper_page(target)
    return results


def _store(item: Item, request: PaperRequest, folder: Path, options: RunOptions) -> PaperStore:
    name = f"{item.paper}-{request.scale}"
    return PaperStore(
        folder / name, options.data_dir, options.device, options.keep_models, options.workers
    )


def summarise(
    item: Item, request: PaperRequest, content: Content, store: PaperStore
) -> dict[str, Any]:
    """results.json, from the records alone."""
    done = store.records(content.cells)
    missing = [cell.name for cell in content.cells if cell.name not in done]
    rows, claims = outcome.rows(content, done), outcome.claims(content.claims, done)
    return {
        "schema": PAPER_SCHEMA,
        "fixhead": __version__,
        "paper": item.paper,
        "paper_title": paper(item.paper).title,
        "item": item.name,
        "title": item.title,
        "scale": request.scale,
        "as_published": request.as_published,
        "batch_size": request.batch_size,
        "protocol": paper(item.paper).as_published if request.as_published else None,
        "command": command(item, request),
        "cells": {"planned": len(content.cells), "done": len(done), "missing": missing},
        "rows": rows,
        "claims": claims,
        "verdicts": {
            "rows": outcome.verdict_counts(rows),
            "claims": outcome.verdict_counts(claims),
        },
        "figures": outcome.figures(content.figures, done),
        "trained": outcome.trained(content, done),
        "recipes": {name: recipe.described() for name, recipe in content.recipes.items()},
        "notes": [*_changed(request), *content.notes],
        "failed": [
            {"cell": name, "error": str(row["error"]).strip().splitlines()[-1]}
            for name, row in done.items()
            if row["status"] != "done"
        ],
        "made": provenance(done.values()),
    }


def name_of(item: Item, request: PaperRequest) -> str:
    """The folder of an item's table."""
    changed = "" if request.epochs is None else f"-{request.epochs}epochs"
    changed += "" if request.batch_size is None else f"-batch{request.batch_size}"
    return item.name + ("-as-published" if request.as_published else "") + changed


def command(item: Item, request: PaperRequest) -> str:
    """The command that makes it again."""
    parts = ["fixhead", "paper", item.paper, item.name, "--scale", request.scale]
    parts += ["--as-published"] if request.as_published else []
    for name in ("seeds", "epochs", "batch_size"):
        value = getattr(request, name)
        parts += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(parts)


def _changed(request: PaperRequest) -> list[str]:
    said = []
    if request.epochs is not None:
        said.append(f"A try-out: every run was cut to {request.epochs} epochs (--epochs).")
    if request.batch_size is not None:
        said.append(f"Every step took {request.batch_size} images (--batch-size).")
    return said


def provenance(records: Iterable[Record]) -> dict[str, Any]:
    """Where and when the runs were made: hardware, versions, commits, dates, time in sum."""
    rows = list(records)
    starts = sorted(row["started_at"] for row in rows)
    return {
        "devices": _distinct(row["device"] for row in rows),
        "versions": {
            name: _distinct(str(row["versions"].get(name)) for row in rows)
            for name in dict.fromkeys(name for row in rows for name in row["versions"])
        },
        "commits": _distinct(str(row["commit"]) for row in rows),
        "first_started": starts[0] if starts else None,
        "last_started": starts[-1] if starts else None,
        "seconds": sum(row.get("train_seconds") or row.get("seconds") or 0.0 for row in rows),
    }


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


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

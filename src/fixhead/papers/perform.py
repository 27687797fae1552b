"""``fixhead paper PAPER ITEM``: plan, run what is missing, sum up, write the page."""

from __future__ import annotations

import multiprocessing
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .._errors import RequestError
from .._files import replace_text
from .._version import __version__
from ..report import write_paper_page
from ..runs import records
from ..runs.records import Record
from . import outcome
from .item import Content, Item, Request
from .registry import find
from .store import Store, share_of

SCHEMA = "fixhead.paper/1"


@dataclass(frozen=True)
class Way:
    """How runs are done: on which data and device, which cells, in how many processes.

    ``run=False`` runs nothing: the table is made from the runs that are done.
    """

    data_dir: Path | None = None
    device: str = "auto"
    cells: str | None = None
    keep_models: bool = True
    processes: int = 1
    run: bool = True

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise RequestError(f"--processes must be 1 or more, got {self.processes}")


def perform(item: Item, request: Request, folder: Path, way: Way | None = None) -> dict[str, Any]:
    """The content of ``FOLDER/PAPER-SCALE/ITEM/results.json``, after running what is missing.

    The runs lie in ``FOLDER/PAPER-SCALE/`` and are shared by all items of the paper and scale.
    With ``way.cells`` only those are run, and the table is made from whatever is done.

    Raises:
        RequestError: a scale or protocol that the item does not have; data that are not there.
    """
    way = way or Way()
    content = build(item, request)
    store = _store(item, request, folder, way)
    wanted = share_of(content.cells, way.cells)
    if way.run:
        with _helpers(item, request, folder, way):
            store.fulfil(wanted)
    results = summarise(item, request, content, store)
    target = store.folder / name_of(item, request)
    target.mkdir(parents=True, exist_ok=True)
    replace_text(target / "results.json", records.dumps(results, indent=1) + "\n")
    write_paper_page(target)
    return results


def _store(item: Item, request: Request, folder: Path, way: Way) -> Store:
    name = f"{item.paper}-{request.scale}"
    return Store(folder / name, way.data_dir, way.device, way.keep_models)


@contextmanager
def _helpers(item: Item, request: Request, folder: Path, way: Way) -> Iterator[None]:
    """Further processes at work on the same cells; each takes those that nobody has in hand.

    For small runs on one GPU, which a single one does not fill, and for several cores.
    """
    context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
    alone = replace(way, processes=1)
    helpers = [
        context.Process(target=_help, args=(item.paper, item.name, request, folder, alone))
        for _ in range(way.processes - 1)
    ]
    for helper in helpers:
        helper.start()
    try:
        yield
    finally:
        for helper in helpers:
            helper.join()


def _help(paper: str, name: str, request: Request, folder: Path, way: Way) -> None:
    item = find(paper, name)
    cells = share_of(build(item, request).cells, way.cells)
    _store(item, request, folder, way).fulfil(cells)


def build(item: Item, request: Request) -> Content:
    """The item's content, where the request can be met."""
    if request.scale not in item.scales:
        raise RequestError(
            f"--scale of {item.paper} {item.name} must be one of {', '.join(item.scales)}, got "
            f"{request.scale}"
        )
    if request.as_published and not item.published:
        raise RequestError(
            f"{item.paper} {item.name} has no --as-published: it is no table of accuracies, or the "
            "paper's code is not released"
        )
    for name in ("seeds", "epochs"):
        value = getattr(request, name)
        if value is not None and value < 1:
            raise RequestError(f"--{name} must be 1 or more, got {value}")
    return item.build(request)


def summarise(item: Item, request: Request, content: Content, store: Store) -> dict[str, Any]:
    """results.json, from the records alone."""
    found = store.records(content.cells)
    missing = [cell.name for cell in content.cells if cell.name not in found]
    return {
        "schema": SCHEMA,
        "fixhead": __version__,
        "paper": item.paper,
        "item": item.name,
        "title": item.title,
        "scale": request.scale,
        "as_published": request.as_published,
        "command": command(item, request),
        "cells": {"planned": len(content.cells), "done": len(found), "missing": missing},
        "rows": outcome.rows(content, found),
        "claims": outcome.claims(content.claims, found),
        "figures": outcome.figures(content.figures, found),
        "recipes": {name: recipe.described() for name, recipe in content.recipes.items()},
        "notes": [*_short(request), *content.notes],
        "failed": [
            {"cell": name, "error": str(row["error"]).strip().splitlines()[-1]}
            for name, row in found.items()
            if row["status"] != "done"
        ],
        "made": made(found.values()),
    }


def name_of(item: Item, request: Request) -> str:
    """The folder of an item's table."""
    short = "" if request.epochs is None else f"-{request.epochs}epochs"
    return item.name + ("-as-published" if request.as_published else "") + short


def command(item: Item, request: Request) -> str:
    """The command that makes it again."""
    parts = ["fixhead", "paper", item.paper, item.name, "--scale", request.scale]
    parts += ["--as-published"] if request.as_published else []
    for name in ("seeds", "epochs"):
        value = getattr(request, name)
        parts += [] if value is None else [f"--{name}", str(value)]
    return shlex.join(parts)


def _short(request: Request) -> list[str]:
    if request.epochs is None:
        return []
    return [f"A try-out: every run was cut to {request.epochs} epochs (--epochs)."]


def made(found: Iterable[Record]) -> dict[str, Any]:
    """Where and when the runs were made: hardware, versions, commits, dates, time in sum."""
    rows = list(found)
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

"""Confused classes: the worst-confused pairs of every arm, with pictures where there are some."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from markupsafe import Markup

from .arm_names import arms_by_name
from .cell_charts import arm_name
from .numbers import count, fixed, percent
from .page import Section, paragraph, tabs
from .records import ComparisonRecords, Record, dig
from .render import fill, join

SMOOTH = 48
"""Pictures of more pixels a side are drawn smoothly, smaller ones pixel by pixel."""


def confusions(records: ComparisonRecords) -> Section | None:
    """A tab per arm; the sheets of pictures lie in the records' folder."""
    panels, names = [], []
    for place, (name, arm) in enumerate(arms_by_name(records).items()):
        run = records.shown(name)
        panel = _panel(place, run, records.classes, records.folder) if run else None
        if panel is not None:
            panels.append(panel)
            names.append(arm_name(place, arm))
    if not panels:
        return None
    intro = paragraph(
        "The pairs of classes that were confused most, worst first: test images of one class that "
        "were taken for the other, and beside them one of the other class that was put right.",
        "small",
    )
    tabbed = tabs("Heads", names, panels, group="pairs-")
    return Section("confused", "Confused classes", join([intro, _chooser(records.classes), tabbed]))


def _chooser(classes: list[str]) -> Markup:
    options: list[tuple[Any, str, bool]] = [("", "all pairs", False)]
    options += [(place, name, False) for place, name in enumerate(classes)]
    return fill("parts", "chooser", "Show pairs with", options, "data-browse", "confused")


def _panel(place: int, run: Record, classes: list[str], folder: Path) -> Markup | None:
    facts = run.get("examples") or {}
    pairs = facts.get("pairs") or _pairs(run)
    if not pairs:
        if dig(run, "geometry", "confusion") is None:
            return None
        return paragraph("No test image of this run was confused.", "missing")
    sheet = _sheet(place, facts, folder)
    cosines = dig(run, "geometry", "class_cosines")
    cards = [_card(place, pair, facts if sheet else {}, classes, cosines) for pair in pairs]
    about = f"{run['head']}, seed {run['seed']}."
    return fill("comparison", "confusions", sheet, about, cards)


def _pairs(run: Record, most: int = 24) -> list[Record]:
    """The same from the confusion counts, for records without pictures."""
    counts = dig(run, "geometry", "confusion") or []
    pairs = [
        {"label": i, "taken_for": j, "count": n, "images": sum(row), "tiles": []}
        for i, row in enumerate(counts)
        for j, n in enumerate(row)
        if n and i != j
    ]
    return sorted(pairs, key=lambda pair: -pair["count"])[:most]


def _sheet(place: int, facts: Record, folder: Path) -> Markup | None:
    path = folder / str(facts.get("file", ""))
    if not facts or not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        return None
    data = base64.b64encode(path.read_bytes()).decode()
    drawn = "auto" if facts["tile"] > SMOOTH else "pixelated"
    return fill("comparison", "sheet", place, data, facts["columns"], _rows(facts), drawn)


def _card(
    place: int, pair: Record, facts: Record, classes: list[str], cosines: list[list[float]] | None
) -> Markup:
    label, other = pair["label"], pair["taken_for"]
    share = percent(pair["count"] / pair["images"], 1)
    figures = f"{count(pair['count'])} of {count(pair['images'])} ({share})"
    if cosines is not None:
        figures += f", cosine {fixed(cosines[label][other])}"
    truth, taken = classes[label], classes[other]
    tiles = [
        _tile(place, facts, at, f"{truth}, taken for {taken}")
        for at in (pair["tiles"] if facts else [])
    ]
    known = facts.get("classes", {}).get(str(other))
    if known is not None:
        tiles.append(_tile(place, facts, known, f"{taken}, put right", " known"))
    return fill("comparison", "confusion", label, other, truth, taken, figures, tiles)


def _tile(place: int, facts: Record, at: int, words: str, kind: str = "") -> Record:
    columns, rows = facts["columns"], _rows(facts)
    row, column = divmod(at, columns)
    across = 100 * column / (columns - 1) if columns > 1 else 0.0
    down = 100 * row / (rows - 1) if rows > 1 else 0.0
    return {
        "words": words,
        "kind": f"tile sheet-{place}{kind}",
        "across": f"{across:.4g}",
        "down": f"{down:.4g}",
    }


def _rows(facts: Record) -> int:
    return -(-int(facts["number"]) // int(facts["columns"]))

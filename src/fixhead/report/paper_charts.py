"""The charts of a paper's page: the picture at its top, and the figures of its results.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ..runs.records import Record
from .numbers import fixed, percent, plural
from .page import Chart
from .render import fill
from .tables import Axis

# --- the paper's figures and ours, a line per cell ------------------------------------------------


@dataclass(frozen=True)
class CellLine:
    """A cell's two marks on one axis: the paper's figure, ours with its interval, in per cent of
    the drawing's width. ``here`` is None where the cell was not run."""

    where: str
    arm: str
    paper: float | None
    here: float | None
    bar: dict[str, float] | None
    words: str
    again: bool


@dataclass(frozen=True)
class CellPanel:
    """The cells of one metric, and what the two ends of their axis mean."""

    title: str
    ends: tuple[str, str]
    lines: Sequence[CellLine]


def cells_picture(rows: Sequence[Record]) -> Markup | None:
    """The paper's figures and ours side by side: the metrics that the paper prints, or all."""
    by_metric: dict[tuple[str, str, str], list[Record]] = {}
    for row in rows:
        key = cell_words(row)["metric"], row["unit"], row["over"]
        by_metric.setdefault(key, []).append(row)
    printed = {key: found for key, found in by_metric.items() if any(map(_paper, found))}
    panels = [
        panel
        for (metric, unit, over), found in (printed or by_metric).items()
        if (panel := _panel(metric, unit, over, found)) is not None
    ]
    if not panels:
        return None
    lines = [line for panel in panels for line in panel.lines]
    run = sum(line.here is not None for line in lines)
    words = (
        f"{plural(len(lines), 'cell')}, {run} of them run here, {sum(map(_has_paper, lines))} with "
        "a figure of the paper. The same numbers stand in the table below."
    )
    return fill("paper", "picture", panels, words, bool(printed), run < len(lines))


def cell_words(row: Record) -> dict[str, str]:
    """Where, arm and metric of a cell, in plain words; older records have its row and column."""
    named = {"where": row["row"], "arm": row["column"], "metric": "figure"}
    return {name: str(row.get(name, other)) for name, other in named.items()}


def _panel(metric: str, unit: str, over: str, rows: Sequence[Record]) -> CellPanel | None:
    values = [value for row in rows for value in _values(row)]
    if not values:
        return None
    axis = _axis(values, share=unit == "percent")
    lines: list[CellLine] = []
    before = ""
    for row in rows:
        lines.append(_line(row, axis, again=cell_words(row)["where"] == before))
        before = cell_words(row)["where"]
    show = _percent_words if unit == "percent" else _plain_words
    return CellPanel(_capital(metric), (show(axis.low), show(axis.high)), lines)


def _line(row: Record, axis: Axis, *, again: bool) -> CellLine:
    words = cell_words(row)
    ours, theirs = row["ours"], _paper(row)
    show = _percent_words if row["unit"] == "percent" else _plain_words
    bar = None
    if ours["interval"] is not None:
        low, high = (axis.place(end) for end in ours["interval"])
        bar = {"left": low, "width": round(high - low, 2)}
    said = show(ours["mean"]) if ours["mean"] is not None else _without_figure(ours)
    if theirs is not None:
        said += f" · paper {show(theirs)}"
    return CellLine(
        words["where"],
        words["arm"],
        None if theirs is None else axis.place(theirs),
        None if ours["mean"] is None else axis.place(ours["mean"]),
        bar,
        said,
        again,
    )


def _without_figure(ours: Record) -> str:
    """A run that ended without a figure was run: its loss was no number any more."""
    return f"diverged ({plural(ours['diverged'], 'run')})" if ours.get("diverged") else "not run"


def _axis(values: Sequence[float], *, share: bool) -> Axis:
    """Room at both ends; a share never leaves 0 to 100 %."""
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.01
    ends = low - room, high + room
    return Axis(max(0.0, ends[0]), min(1.0, ends[1])) if share else Axis(*ends)


def _values(row: Record) -> list[float]:
    """All that is drawn of a row; the ends of an interval too."""
    ours = row["ours"]
    found = [_paper(row), ours["mean"], *(ours["interval"] or ())]
    return [value for value in found if value is not None]


def _paper(row: Record) -> float | None:
    value = row["printed"] and row["printed"]["value"]
    return None if value is None else float(value)


def _has_paper(line: CellLine) -> bool:
    return line.paper is not None


def _percent_words(value: float) -> str:
    return percent(value, 1)


def _plain_words(value: float) -> str:
    return fixed(value, 0 if abs(value) >= 100 else 3)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# --- figures --------------------------------------------------------------------------------------

_KINDS = {
    "bars": "bars",
    "strip": "dots",
    "plane": "planes",
    "paths": "paths",
    "matrix": "matrices",
    "points": "points",
    "curves": "lines",
}
"""Kinds of figures that results.json may hold, and the routines that draw them."""

FIGURE_KINDS = frozenset(_KINDS)


def figure_chart(place: int, figure: Record) -> Chart:
    """A figure with what was measured here and what the paper printed."""
    data = figure["data"]
    parts = data.get("panels") or data.get("series") or []
    shown = [str(part.get("title", part.get("name"))) for part in parts]
    return Chart(
        name=f"figure-{place}",
        kind=_KINDS[figure["kind"]],
        title=figure["title"],
        explanation=[figure["measured"], fill("paper", "printed", figure["printed"])],
        summary=f"{figure['title']}. {figure['measured']} Shown: {'; '.join(shown)}.",
        data=data,
        height=_height(figure["kind"], data),
    )


def _height(kind: str, data: Record) -> int:
    """In px, before the script knows how wide the page is."""
    return 60 + 34 * len(data["series"]) if kind == "strip" else 340

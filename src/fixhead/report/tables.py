"""A table of a page: sortable, with a caption and scopes, and cards on a narrow screen.

Its cells may hold small drawings, placed in per cent by CSS, so they fit any width and theme. The
same numbers stand in the cells beside them, so drawings are hidden from screen readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from .numbers import fixed
from .records import ArmWords
from .render import arm_colour, arm_mark, fill


@dataclass(frozen=True)
class Column:
    """``title`` heads it; ``below`` is small print or a scale under it; ``kind`` a CSS class."""

    title: str
    below: str | None = None
    kind: str = "number"
    sortable: bool = True


@dataclass(frozen=True)
class TableCell:
    """What is shown, and what it is sorted by (None sorts last)."""

    shown: str
    value: float | str | None = None


@dataclass(frozen=True)
class TableRow:
    """The cells of a row, one per column; ``attributes`` are the row's own HTML attributes."""

    cells: Sequence[TableCell]
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GroupHeading:
    """A line over rows that share what it says; tables with such lines are not sorted."""

    shown: str


def render_table(
    name: str, caption: str, columns: Sequence[Column], rows: Sequence[TableRow | GroupHeading]
) -> Markup:
    """The table with the id ``table-NAME``; the first column names the row."""
    for row in rows:
        if isinstance(row, TableRow) and len(row.cells) != len(columns):
            raise ValueError(f"table {name}: {len(row.cells)} cells for {len(columns)} columns")
    return fill("table", "table", name, caption, columns, rows)


def spread_cell(spread: tuple[float | None, float | None], digits: int = 3) -> TableCell:
    """``0.412`` over ``± 0.020``, sorted by the mean."""
    middle, deviation = spread
    return TableCell(over(fixed(middle, digits), deviation, digits), middle)


def over(shown: str, deviation: float | None, digits: int) -> str:
    """The mean, with the spread in small below it where there is one."""
    if deviation is None:
        return shown
    return fill("cells", "over", shown, f"± {fixed(deviation, digits)}")


@dataclass(frozen=True)
class Axis:
    """Values from ``low`` to ``high`` on 0 … 100 %."""

    low: float
    high: float

    def place(self, value: float) -> float:
        if self.high <= self.low:
            return 50.0
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 2)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


def accuracy_axis(values: Sequence[float]) -> Axis:
    """An axis that holds accuracies with some room, and stays within 0 and 1."""
    low, high = min(values), max(values)
    room = max(0.08 * (high - low), 0.002)
    return Axis(max(0.0, low - room), min(1.0, high + room))


def swatch(index: int) -> Markup:
    """An arm's mark as it stands in the plots; decoration, its name always stands beside it."""
    path, kind = arm_mark(index)
    return fill("cells", "swatch", path, kind, arm_colour(index))


def arm_name(index: int, arm: ArmWords, *, describe: bool = False) -> Markup:
    """Mark and name of an arm; the line below says what the name means."""
    means = arm.description if describe else None
    full = arm.name if arm.shown != arm.name else None
    return fill("cells", "arm", swatch(index), arm.shown, means, full)


def strip(index: int, values: Sequence[float], average: float | None, axis: Axis) -> Markup:
    """A dot for every seed and a tick at their mean."""
    dots = [axis.place(value) for value in values]
    tick = None if average is None else axis.place(average)
    return fill("cells", "strip", dots, tick, arm_colour(index))


def forest(middle: float, ends: Sequence[float] | None, axis: Axis, *, full: bool) -> Markup:
    """A difference and its interval; cut ends carry an arrow.

    The axis is symmetric, so that the cell's own line in its middle is zero.
    """
    bar = None
    if ends is not None:
        low, high = (axis.place(end) for end in ends)
        cut = [
            f"cut-{side}"
            for side, end in zip(("left", "right"), ends, strict=True)
            if not axis.holds(end)
        ]
        bar = {"kind": " ".join(["bar", *cut]), "left": low, "width": round(high - low, 2)}
    return fill("cells", "forest", axis.place(middle), bar, full)


def scale(labels: Sequence[str]) -> Markup:
    """What an axis' ends (and middle) mean, under a column's title."""
    return fill("cells", "scale", labels)

"""A table of a page: sortable, with a caption and scopes, and cards on a narrow screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from .numbers import fixed
from .render import fill


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

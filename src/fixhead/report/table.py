"""A table of the page: sortable, with a caption and scopes, and cards on a narrow screen.

The roles are written out because a browser forgets a table's own once CSS lays it out otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .html import Attribute, Html, element, join


@dataclass(frozen=True)
class Column:
    """``title`` heads it; ``below`` is small print or a scale under it; ``kind`` a CSS class."""

    title: str
    below: str | None = None
    kind: str = "number"
    sortable: bool = True


@dataclass(frozen=True)
class Cell:
    """What is shown, and what it is sorted by (None sorts last)."""

    shown: str
    value: float | str | None = None


@dataclass(frozen=True)
class Row:
    cells: Sequence[Cell]
    attributes: dict[str, Attribute] = field(default_factory=dict)


def render(name: str, caption: str, columns: Sequence[Column], rows: Sequence[Row]) -> Html:
    """The table with the id ``table-NAME``; the first column names the row."""
    return element(
        "table",
        element("caption", caption),
        element("thead", _head(columns), role="rowgroup"),
        element("tbody", join(_row(columns, row) for row in rows), role="rowgroup"),
        id=f"table-{name}",
        class_=f"records {name}",
        role="table",
    )


def _head(columns: Sequence[Column]) -> Html:
    return element("tr", join(_heading(column) for column in columns), role="row")


def _heading(column: Column) -> Html:
    title: Html = element("span", column.title)
    if column.sortable:
        title = element("button", column.title, type="button", class_="sort")
    below = element("span", column.below, class_="below") if column.below else None
    return element(
        "th",
        title,
        below,
        scope="col",
        role="columnheader",
        class_=column.kind,
        aria_sort="none" if column.sortable else None,
    )


def _row(columns: Sequence[Column], row: Row) -> Html:
    cells = [
        _cell(*pair, first=not place)
        for place, pair in enumerate(zip(columns, row.cells, strict=True))
    ]
    return element("tr", *cells, role="row", **row.attributes)


def _cell(column: Column, cell: Cell, *, first: bool) -> Html:
    return element(
        "th" if first else "td",
        cell.shown,
        scope="row" if first else None,
        role="rowheader" if first else "cell",
        class_=column.kind,
        data_label=column.title,
        data_v="" if cell.value is None else cell.value,
    )

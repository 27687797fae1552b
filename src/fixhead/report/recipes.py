"""What each arm was trained with, as the records of its runs say, not as it was planned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from .numbers import MISSING, listing
from .page import paragraph
from .records import Settings
from .render import fill, join
from .tables import Column, TableCell, TableRow, render_table

_SOURCE = (
    "Read from the records of the runs, not from the plan. Weight decay is of every trained weight "
    "but a head's scale and bias; frozen vectors have none."
)


def render_recipes(
    labels: Sequence[Column],
    arms: Sequence[Sequence[TableCell]],
    shared: Settings,
    differing: Sequence[Settings],
) -> Markup:
    """The settings in which arms differ as a table, and those that all share in a list.

    ``arms`` are the cells that name each arm, one for each of ``labels``; ``shared`` and
    ``differing`` are what ``settings_of_arms`` gives.
    """
    names = list(dict.fromkeys(name for settings in differing for name in settings))
    if names:
        columns = [*labels, *(Column(name, sortable=False) for name in names)]
        rows = [
            TableRow([*arm, *(TableCell(_shown(settings[name])) for name in names)])
            for arm, settings in zip(arms, differing, strict=True)
        ]
        first = fill("parts", "wide", render_table("recipes", _SOURCE, columns, rows))
    else:
        words = "All arms were trained alike. " if len(arms) > 1 else ""
        first = paragraph(words + _SOURCE, "small")
    kept = [(name, _shown(values)) for name, values in shared.items()]
    table = fill("table", "plain", ("Setting", "Value"), kept)
    summary = "Settings that all arms share" if len(arms) > 1 else "Its settings"
    return join([first, fill("parts", "details", summary, table)])


def _shown(values: Sequence[Any]) -> str:
    return listing([plain(value) for value in values]) if values else MISSING


def plain(value: Any) -> str:
    """A setting as it is read: ``yes`` and ``no``, a dash for nothing."""
    if value is None or value == []:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

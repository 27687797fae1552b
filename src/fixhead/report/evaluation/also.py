"""Further test sets with the same classes: accuracy there, and what was lost."""

from __future__ import annotations

from ..html import element, join
from ..marks import Axis, arm_name, forest, scale
from ..naming import heads_by_name
from ..numbers import THIN, count, percent, signed
from ..records import Record
from ..section import Section
from ..table import Cell, Column, Row, render
from .record import Evaluated


def also(evaluated: Evaluated) -> Section | None:
    """A table for each further set."""
    sets = evaluated.found.get("also") or []
    if not sets:
        return None
    parts = [_set(evaluated, place, extra) for place, extra in enumerate(sets)]
    return Section("also", "Further test sets", join(parts))


def _set(evaluated: Evaluated, number: int, extra: Record) -> str:
    reach = [abs(arm["drop"][end]) for arm in extra["arms"] for end in ("low", "high")]
    half = 1.08 * max(reach) or 0.01
    axis = Axis(-half, half)
    columns = [
        Column("Head", kind="name"),
        Column("Accuracy", "here"),
        Column("Test set", "accuracy"),
        Column("Drop", "points"),
        Column(f"95{THIN}% interval", "points"),
        Column("Interval", scale([signed(-100 * half, 1), "0", signed(100 * half, 1)]), "drawing"),
        Column("Against", extra["baseline"]),
    ]
    heads = heads_by_name(evaluated.records)
    rows = []
    for arm in extra["arms"]:
        drop, against = arm["drop"], arm.get("drop_against_baseline")
        place = evaluated.heads.index(arm["head"])
        cells = [
            Cell(arm_name(place, heads[arm["head"]]), arm["head"]),
            Cell(percent(arm["accuracy"]), arm["accuracy"]),
            Cell(percent(arm["test_accuracy"]), arm["test_accuracy"]),
            Cell(signed(100 * drop["value"]), drop["value"]),
            Cell(_span(drop), drop["high"] - drop["low"]),
            Cell(forest(drop["value"], (drop["low"], drop["high"]), axis, full=False)),
            Cell(f"{signed(100 * against['value'])} ({_span(against)})", against["value"])
            if against
            else Cell("–"),
        ]
        rows.append(Row(cells))
    notes = " ".join(extra.get("notes") or ())
    caption = (
        f"{count(extra['images'])} images. A drop is the test accuracy less the accuracy here; "
        f"intervals are bootstrapped over images. “Against” is the drop less that of "
        f"{extra['baseline']}. {notes}".rstrip()
    )
    table = render(f"also-{number}", caption, columns, rows)
    return element("div", element("h3", extra["title"]), table, class_="also-set")


def _span(interval: Record) -> str:
    return f"{signed(100 * interval['low'])} to {signed(100 * interval['high'])}"

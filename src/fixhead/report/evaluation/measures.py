"""Neural collapse, compactness and calibration of trained models, as tables and one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...measures import Measure, of_part
from ..figure import Figure, render
from ..html import Html, join
from ..marks import arm_name
from ..naming import Head, heads_by_name
from ..numbers import listing, mean_std, percent, rounded
from ..section import Section
from ..table import Cell, Column, Row
from ..table import render as table
from .record import Evaluated
from .summary import missing_everywhere, number


def collapse(evaluated: Evaluated) -> Section | None:
    """NC1 to NC4 against the head's own vectors."""
    if missing_everywhere(evaluated, "collapse"):
        return None
    columns, rows = _table(evaluated, of_part("collapse"))
    caption = (
        "How far the test features have collapsed onto their class means and the vectors of the "
        "head; all are 0 at perfect collapse, alignment 1 and NC4 100 %. NC4 is the share of "
        "images whose decision is that of the nearest class mean. Heads that see no length are "
        "measured on directions."
    )
    body = table("collapse-measures", caption, columns, rows)
    return Section("collapse", "Neural collapse", body)


def compactness(evaluated: Evaluated) -> Section | None:
    """Cosines of features to vectors, split by right and wrong; lengths of features."""
    if missing_everywhere(evaluated, "compactness"):
        return None
    columns, rows = _table(evaluated, of_part("compactness"))
    caption = (
        "Intra-class compactness (cosines of test features to class vectors) and inter-class "
        "separability (cosines between class means), means over the models of each head."
    )
    body = table("compactness-measures", caption, columns, rows)
    return Section("compactness", "Compactness", body)


def calibration(evaluated: Evaluated) -> Section | None:
    """Reliability: how often predictions of one confidence are right."""
    arms, said = [], []
    for place, head in enumerate(evaluated.heads):
        found = [model["calibration"] for model in evaluated.of(head) if model.get("calibration")]
        if not found:
            continue
        arms.append({"arm": place} | {name: _columns(found, name) for name in _DIAGRAM})
        said.append(f"{head} {percent(evaluated.spread(head, 'calibration', 'expected_error')[0])}")
    if not arms:
        return None
    figure = Figure(
        name="calibration",
        kind="calibration",
        title="Reliability",
        explanation=(
            "Accuracy of the predictions in each of 15 bins of confidence; a larger mark holds "
            "more images. On the line a head is as sure as it is right, below it too sure."
        ),
        summary=f"Reliability diagram. Expected calibration error: {listing(said)}.",
        data={"arms": arms},
        height=420,
        legend=True,
    )
    heads: list[Head] = list(heads_by_name(evaluated.records).values())
    return Section("calibration", "Calibration", join([render(figure, heads)]), [figure])


_DIAGRAM = ("share", "confidence", "accuracy")


def _columns(found: Sequence[dict[str, Any]], name: str) -> list[float | None]:
    rows = zip(*(part[name] for part in found), strict=True)
    return [rounded(mean_std([v for v in row if v is not None])[0]) for row in rows]


def _table(evaluated: Evaluated, wanted: Sequence[Measure]) -> tuple[list[Column], list[Row]]:
    """A row per head and a column per measure that some model's record has."""
    heads = heads_by_name(evaluated.records)
    known = [one for one in wanted if not missing_everywhere(evaluated, *one.path)]
    columns = [Column("Head", kind="name"), *(Column(one.short, one.below) for one in known)]
    rows = []
    for place, name in enumerate(evaluated.heads):
        named: Html = arm_name(place, heads[name])
        cells = [_cell(evaluated, name, one) for one in known]
        rows.append(Row([Cell(named, name), *cells]))
    return columns, rows


def _cell(evaluated: Evaluated, head: str, measure: Measure) -> Cell:
    spread = evaluated.spread(head, *measure.path)
    return Cell(percent(spread[0], 1), spread[0]) if measure.unit == "fraction" else number(spread)

"""Neural collapse, compactness and calibration of trained models, as tables and one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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

_COLLAPSE = (
    ("nc1", "NC1", "tr(Σ_W Σ_B⁺)/K"),
    ("trace_ratio", "NC1, cheap", "tr Σ_W / tr Σ_B"),
    ("cdnv", "CDNV", "by pairs of classes"),
    ("equinorm", "NC2 lengths", "spread"),
    ("equiangularity_deviation", "NC2 angles", "deviation"),
    ("self_duality", "NC3", "distance to vectors"),
    ("alignment", "Alignment", "cosine to own vector"),
    ("gram_distance", "Gram distance", "means and vectors"),
)

_COMPACTNESS = (
    ("own", "Own vector", "mean cosine"),
    ("own_right", "… where right", "mean cosine"),
    ("own_wrong", "… where wrong", "mean cosine"),
    ("predicted", "Predicted vector", "mean cosine"),
    ("predicted_wrong", "… where wrong", "mean cosine"),
    ("separability", "Class means", "mean cosine between"),
    ("norm", "Feature norm", "mean"),
    ("norm_std", "… spread", "std"),
)


def collapse(evaluated: Evaluated) -> Section | None:
    """NC1 to NC4 against the head's own vectors."""
    if missing_everywhere(evaluated, "collapse"):
        return None
    agreement = Column("NC4", "agreement")
    columns, rows = _table(evaluated, "collapse", _COLLAPSE)
    for row, head in zip(rows, evaluated.heads, strict=True):
        middle, _ = evaluated.spread(head, "collapse", "nearest_mean_agreement")
        row.append(Cell(percent(middle, 1), middle))
    caption = (
        "How far the test features have collapsed onto their class means and the vectors of the "
        "head; all are 0 at perfect collapse, alignment 1 and NC4 100 %. NC4 is the share of "
        "images whose decision is that of the nearest class mean. Heads that see no length are "
        "measured on directions."
    )
    body = table("collapse-measures", caption, [*columns, agreement], [Row(row) for row in rows])
    return Section("collapse", "Neural collapse", body)


def compactness(evaluated: Evaluated) -> Section | None:
    """Cosines of features to vectors, split by right and wrong; lengths of features."""
    if missing_everywhere(evaluated, "compactness"):
        return None
    known = [
        one for one in _COMPACTNESS if not missing_everywhere(evaluated, "compactness", one[0])
    ]
    columns, rows = _table(evaluated, "compactness", known)
    caption = (
        "Intra-class compactness (cosines of test features to class vectors) and inter-class "
        "separability (cosines between class means), means over the models of each head."
    )
    body = table("compactness-measures", caption, columns, [Row(row) for row in rows])
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


def _table(
    evaluated: Evaluated, field: str, wanted: Sequence[tuple[str, str, str]]
) -> tuple[list[Column], list[list[Cell]]]:
    heads = heads_by_name(evaluated.records)
    columns = [Column("Head", kind="name"), *(Column(title, below) for _, title, below in wanted)]
    rows = []
    for place, name in enumerate(evaluated.heads):
        named: Html = arm_name(place, heads[name])
        spreads = [evaluated.spread(name, field, key) for key, _, _ in wanted]
        rows.append([Cell(named, name), *map(number, spreads)])
    return columns, rows

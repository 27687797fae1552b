"""Every measure class by class, and over groups of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .. import figures
from ..figure import Control, Figure, render
from ..html import element, join
from ..marks import arm_name
from ..naming import heads_by_name
from ..numbers import count, mean_std, rounded
from ..records import Record, dig
from ..section import Section
from ..table import Cell, Column, Row
from ..table import render as table
from .record import Evaluated
from .summary import number

MEASURES = (
    ("accuracy", "Accuracy"),
    ("f1", "F1"),
    ("calibration_error", "Calibration error"),
    ("own", "Compactness: cosine to the own vector"),
    ("own_right", "… of images put right"),
    ("own_wrong", "… of images put wrong"),
    ("predicted", "Cosine to the predicted vector"),
    ("separability", "Separability: mean cosine to other class means"),
    ("trace_ratio", "NC1: spread within against between"),
    ("cdnv", "CDNV against the other classes"),
    ("relative_norm", "NC2: relative length of the class mean"),
    ("equiangularity_deviation", "NC2: deviation from equal angles"),
    ("self_duality", "NC3: distance to the own vector"),
    ("alignment", "NC3: cosine of the class mean to the own vector"),
    ("gram_distance", "NC3: Gram distance"),
    ("nearest_mean_agreement", "NC4: agreement with the nearest mean"),
    ("norm", "Feature norm"),
)
_GROUPED = (
    ("accuracy", "Accuracy", None),
    ("calibration_error", "ECE", None),
    ("own", "Own vector", "cosine"),
    ("separability", "Means", "cosine"),
    ("trace_ratio", "NC1", "cheap"),
    ("cdnv", "CDNV", None),
    ("alignment", "NC3", "alignment"),
    ("nearest_mean_agreement", "NC4", "agreement"),
)
_FRACTIONS = ("accuracy", "f1", "calibration_error", "nearest_mean_agreement")


def classes(evaluated: Evaluated) -> Section | None:
    """The comparison's drawing of classes, with a choice among all measures."""
    figure = figures.class_accuracies(evaluated.records)
    if figure is None:
        return None
    measures = {name: _arms(evaluated, name) for name, _ in MEASURES}
    known = [(name, words) for name, words in MEASURES if any(measures[name])]
    if known:
        figure = _with_measures(figure, measures, known)
    heads = list(heads_by_name(evaluated.records).values())
    return Section("classes", "Classes", render(figure, heads), [figure])


def _with_measures(
    figure: Figure, measures: dict[str, list[Record]], known: Sequence[tuple[str, str]]
) -> Figure:
    shown = {name: measures[name] for name, _ in known}
    data = {**figure.data, "measures": shown, "fractions": list(_FRACTIONS)}
    controls = [Control("measure", "Measure", known), *figure.controls]
    return replace(figure, title="Every class", data=data, controls=controls)


def _arms(evaluated: Evaluated, name: str) -> list[Record]:
    arms = []
    for place, head in enumerate(evaluated.heads):
        columns = [dig(model, "per_class", name) for model in evaluated.of(head)]
        known = [column for column in columns if column is not None]
        if known:
            spreads = [
                mean_std([value for value in row if value is not None])
                for row in zip(*known, strict=True)
            ]
            arms.append(
                {
                    "arm": place,
                    "mean": [rounded(middle) for middle, _ in spreads],
                    "std": [rounded(deviation) for _, deviation in spreads],
                }
            )
    return arms


def groups(evaluated: Evaluated) -> Section | None:
    """Many-, medium- and few-shot classes, where training classes were unequal."""
    names = list(evaluated.models[0].get("groups") or {})
    if not names:
        return None
    heads = heads_by_name(evaluated.records)
    columns = [
        Column("Head", kind="name"),
        Column("Group", "classes", kind="name"),
        *(Column(title, below) for _, title, below in _GROUPED),
        Column("Spearman ρ", "inside"),
    ]
    rows = []
    for place, head in enumerate(evaluated.heads):
        for name in names:
            size = dig(evaluated.of(head)[0], "groups", name, "classes")
            spreads = [evaluated.spread(head, "groups", name, one) for one, _, _ in _GROUPED]
            rho = evaluated.spread(head, "groups", name, "spearman", "rho")
            cells = [
                Cell(arm_name(place, heads[head]), head),
                Cell(element("span", name, element("span", count(size), class_="below")), name),
                *(number(one, 2) for one in [*spreads, rho]),
            ]
            rows.append(Row(cells))
    caption = (
        "Means over the classes of each group that have a value. Groups by training images: many "
        "more than 100, few less than 20; by rank where the data set is published so."
    )
    return Section("groups", "Groups of classes", join([table("groups", caption, columns, rows)]))

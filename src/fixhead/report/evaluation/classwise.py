"""Every measure class by class, and over groups of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...measures import Measure, per_class
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


def classes(evaluated: Evaluated) -> Section | None:
    """The comparison's drawing of classes, with a choice among all measures."""
    figure = figures.class_accuracies(evaluated.records)
    if figure is None:
        return None
    measures = {one.name: _arms(evaluated, one.name) for one in per_class()}
    known = [one for one in per_class() if measures[one.name]]
    if known:
        figure = _with_measures(figure, measures, known)
    heads = list(heads_by_name(evaluated.records).values())
    return Section("classes", "Classes", render(figure, heads), [figure])


def _with_measures(
    figure: Figure, measures: dict[str, list[Record]], known: Sequence[Measure]
) -> Figure:
    shown = {one.name: measures[one.name] for one in known}
    fractions = [one.name for one in known if one.unit == "fraction"]
    data = {**figure.data, "measures": shown, "fractions": fractions}
    choices = [(one.name, one.title) for one in known]
    controls = [Control("measure", "Measure", choices), *figure.controls]
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
    grouped = [one for one in per_class() if one.in_groups]
    columns = [
        Column("Head", kind="name"),
        Column("Group", "classes", kind="name"),
        *(Column(one.short, one.below) for one in grouped),
        Column("Spearman ρ", "inside"),
    ]
    rows = []
    for place, head in enumerate(evaluated.heads):
        for name in names:
            size = dig(evaluated.of(head)[0], "groups", name, "classes")
            spreads = [evaluated.spread(head, "groups", name, one.name) for one in grouped]
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

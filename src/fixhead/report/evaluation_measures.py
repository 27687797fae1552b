"""Sections of an evaluation: collapse, compactness, calibration, and measures class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..measures import Measure, of_part, per_class
from .arm_names import arms_by_name
from .cell_charts import arm_name
from .charts import Chart, Choice, render_chart
from .comparison_charts import class_accuracies
from .numbers import count, listing, mean_std, percent, rounded
from .page import Section
from .records import EvaluationRecords, Record, dig
from .render import fill
from .tables import Column, TableCell, TableRow, render_table, spread_cell


def collapse(records: EvaluationRecords) -> Section | None:
    """NC1 to NC4 against the head's own vectors."""
    if _missing_everywhere(records, "collapse"):
        return None
    columns, rows = _table(records, of_part("collapse"))
    caption = (
        "How far the test features have collapsed onto their class means and the vectors of the "
        "head; all are 0 at perfect collapse, alignment 1 and NC4 100 %. NC4 is the share of "
        "images whose decision is that of the nearest class mean. Heads that see no length are "
        "measured on directions."
    )
    body = render_table("collapse-measures", caption, columns, rows)
    return Section("collapse", "Neural collapse", body)


def compactness(records: EvaluationRecords) -> Section | None:
    """Cosines of features to vectors, split by right and wrong; lengths of features."""
    if _missing_everywhere(records, "compactness"):
        return None
    columns, rows = _table(records, of_part("compactness"))
    caption = (
        "Intra-class compactness (cosines of test features to class vectors) and inter-class "
        "separability (cosines between class means), means over the models of each head."
    )
    body = render_table("compactness-measures", caption, columns, rows)
    return Section("compactness", "Compactness", body)


def calibration(records: EvaluationRecords) -> Section | None:
    """Reliability: how often predictions of one confidence are right."""
    arms, said = [], []
    for place, head in enumerate(records.heads):
        found = [model["calibration"] for model in records.of(head) if model.get("calibration")]
        if not found:
            continue
        arms.append({"arm": place} | {name: _columns(found, name) for name in _DIAGRAM})
        said.append(f"{head} {percent(records.spread(head, 'calibration', 'expected_error')[0])}")
    if not arms:
        return None
    figure = Chart(
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
    heads = list(arms_by_name(records.as_comparison).values())
    return Section("calibration", "Calibration", render_chart(figure, heads), [figure])


_DIAGRAM = ("share", "confidence", "accuracy")


def _columns(found: Sequence[dict[str, Any]], name: str) -> list[float | None]:
    rows = zip(*(part[name] for part in found), strict=True)
    return [rounded(mean_std([v for v in row if v is not None])[0]) for row in rows]


def _table(
    records: EvaluationRecords, wanted: Sequence[Measure]
) -> tuple[list[Column], list[TableRow]]:
    """A row per head and a column per measure that some model's record has."""
    arms = arms_by_name(records.as_comparison)
    known = [one for one in wanted if not _missing_everywhere(records, *one.path)]
    columns = [Column("Head", kind="name"), *(Column(one.short, one.below) for one in known)]
    rows = []
    for place, name in enumerate(records.heads):
        named = TableCell(arm_name(place, arms[name]), name)
        rows.append(TableRow([named, *(_measured(records, name, one) for one in known)]))
    return columns, rows


def _measured(records: EvaluationRecords, head: str, measure: Measure) -> TableCell:
    spread = records.spread(head, *measure.path)
    if measure.unit == "fraction":
        return TableCell(percent(spread[0], 1), spread[0])
    return spread_cell(spread)


def classes(records: EvaluationRecords) -> Section | None:
    """The comparison's drawing of classes, with a choice among all measures."""
    figure = class_accuracies(records.as_comparison)
    if figure is None:
        return None
    measures = {one.name: _arms(records, one.name) for one in per_class()}
    known = [one for one in per_class() if measures[one.name]]
    if known:
        figure = _with_measures(figure, measures, known)
    heads = list(arms_by_name(records.as_comparison).values())
    return Section("classes", "Classes", render_chart(figure, heads), [figure])


def _with_measures(
    chart: Chart, measures: dict[str, list[Record]], known: Sequence[Measure]
) -> Chart:
    shown = {one.name: measures[one.name] for one in known}
    fractions = [one.name for one in known if one.unit == "fraction"]
    data = {**chart.data, "measures": shown, "fractions": fractions}
    choices = [(one.name, one.title[:1].upper() + one.title[1:]) for one in known]
    controls = [Choice("measure", "Measure", choices), *chart.controls]
    return replace(chart, title="Every class", data=data, controls=controls)


def _arms(records: EvaluationRecords, name: str) -> list[Record]:
    arms = []
    for place, head in enumerate(records.heads):
        columns = [dig(model, "per_class", name) for model in records.of(head)]
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


def groups(records: EvaluationRecords) -> Section | None:
    """Many-, medium- and few-shot classes, where training classes were unequal."""
    names = list(records.models[0].get("groups") or {})
    if not names:
        return None
    heads = arms_by_name(records.as_comparison)
    grouped = [one for one in per_class() if one.in_groups]
    columns = [
        Column("Head", kind="name"),
        Column("Group", "classes", kind="name"),
        *(Column(one.short, one.below) for one in grouped),
        Column("Spearman ρ", "inside"),
    ]
    rows = []
    for place, head in enumerate(records.heads):
        for name in names:
            size = dig(records.of(head)[0], "groups", name, "classes")
            spreads = [records.spread(head, "groups", name, one.name) for one in grouped]
            rho = records.spread(head, "groups", name, "spearman", "rho")
            cells = [
                TableCell(arm_name(place, heads[head]), head),
                TableCell(fill("cells", "over", name, count(size)), name),
                *(spread_cell(one, 2) for one in [*spreads, rho]),
            ]
            rows.append(TableRow(cells))
    caption = (
        "Means over the classes of each group that have a value. Groups by training images: many "
        "more than 100, few less than 20; by rank where the data set is published so."
    )
    return Section("groups", "Groups of classes", render_table("groups", caption, columns, rows))


def _missing_everywhere(records: EvaluationRecords, *path: str) -> bool:
    """Whether no model's record has this figure."""
    return all(dig(model, *path) is None for model in records.models)

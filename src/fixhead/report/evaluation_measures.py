"""Sections of an evaluation: collapse, compactness, calibration, and measures class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .arm_names import arms_by_name
from .cell_charts import arm_name
from .charts import Chart, Choice, render_chart
from .comparison_charts import class_accuracies
from .numbers import count, listing, mean_std, percent, rounded
from .page import Section
from .records import EvaluationRecords, Record, dig
from .render import fill
from .tables import Column, TableCell, TableRow, render_table, spread_cell

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


def collapse(records: EvaluationRecords) -> Section | None:
    """NC1 to NC4 against the head's own vectors."""
    if _missing_everywhere(records, "collapse"):
        return None
    agreement = Column("NC4", "agreement")
    columns, rows = _table(records, "collapse", _COLLAPSE)
    for row, head in zip(rows, records.heads, strict=True):
        middle, _ = records.spread(head, "collapse", "nearest_mean_agreement")
        row.append(TableCell(percent(middle, 1), middle))
    caption = (
        "How far the test features have collapsed onto their class means and the vectors of the "
        "head; all are 0 at perfect collapse, alignment 1 and NC4 100 %. NC4 is the share of "
        "images whose decision is that of the nearest class mean. Heads that see no length are "
        "measured on directions."
    )
    body = render_table(
        "collapse-measures", caption, [*columns, agreement], [TableRow(row) for row in rows]
    )
    return Section("collapse", "Neural collapse", body)


def compactness(records: EvaluationRecords) -> Section | None:
    """Cosines of features to vectors, split by right and wrong; lengths of features."""
    if _missing_everywhere(records, "compactness"):
        return None
    known = [one for one in _COMPACTNESS if not _missing_everywhere(records, "compactness", one[0])]
    columns, rows = _table(records, "compactness", known)
    caption = (
        "Intra-class compactness (cosines of test features to class vectors) and inter-class "
        "separability (cosines between class means), means over the models of each head."
    )
    body = render_table("compactness-measures", caption, columns, [TableRow(row) for row in rows])
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
    records: EvaluationRecords, field: str, wanted: Sequence[tuple[str, str, str]]
) -> tuple[list[Column], list[list[TableCell]]]:
    heads = arms_by_name(records.as_comparison)
    columns = [Column("Head", kind="name"), *(Column(title, below) for _, title, below in wanted)]
    rows = []
    for place, name in enumerate(records.heads):
        named = arm_name(place, heads[name])
        spreads = [records.spread(name, field, key) for key, _, _ in wanted]
        rows.append([TableCell(named, name), *map(spread_cell, spreads)])
    return columns, rows


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


def classes(records: EvaluationRecords) -> Section | None:
    """The comparison's drawing of classes, with a choice among all measures."""
    figure = class_accuracies(records.as_comparison)
    if figure is None:
        return None
    measures = {name: _arms(records, name) for name, _ in MEASURES}
    known = [(name, words) for name, words in MEASURES if any(measures[name])]
    if known:
        figure = _with_measures(figure, measures, known)
    heads = list(arms_by_name(records.as_comparison).values())
    return Section("classes", "Classes", render_chart(figure, heads), [figure])


def _with_measures(
    figure: Chart, measures: dict[str, list[Record]], known: Sequence[tuple[str, str]]
) -> Chart:
    shown = {name: measures[name] for name, _ in known}
    data = {**figure.data, "measures": shown, "fractions": list(_FRACTIONS)}
    controls = [Choice("measure", "Measure", known), *figure.controls]
    return replace(figure, title="Every class", data=data, controls=controls)


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
    columns = [
        Column("Head", kind="name"),
        Column("Group", "classes", kind="name"),
        *(Column(title, below) for _, title, below in _GROUPED),
        Column("Spearman ρ", "inside"),
    ]
    rows = []
    for place, head in enumerate(records.heads):
        for name in names:
            size = dig(records.of(head)[0], "groups", name, "classes")
            spreads = [records.spread(head, "groups", name, one) for one, _, _ in _GROUPED]
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

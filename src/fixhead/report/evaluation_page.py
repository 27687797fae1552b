"""An evaluation's page: the same frame as a comparison's, the sections of one trained model or
several: accuracy, collapse, compactness, calibration, and measures class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..measures import MEASURES, Measure, of_part, per_class
from ..runs.layout import EVALUATION_FILE, EVALUATION_PAGE
from ..runs.records import Record
from .comparison_charts import class_accuracies, confusions
from .evaluation_sets import corruptions, outside, shifted_sets
from .numbers import count, listing, mean_std, percent, percent_spread, plural, rounded
from .page import Chart, Choice, Page, Section, paragraph, present, render_chart, write
from .plane_charts import projections
from .recipes import training
from .records import EvaluationRecords, arms_by_name, dig, read_evaluation
from .render import fill
from .tables import (
    Column,
    TableCell,
    TableRow,
    accuracy_axis,
    arm_name,
    over,
    render_table,
    scale,
    spread_cell,
    strip,
)
from .vectors import features, plane, vectors


def write_evaluation_page(directory: Path) -> Path:
    """Write ``directory/evaluation.html`` from the evaluation.json there alone; give its path.

    The old page stays until the new one is whole.

    Raises:
        RequestError: the record is missing, unreadable or of another schema; or plotly, whose
            script the page carries, is not installed.
    """
    return write(
        Path(directory) / EVALUATION_PAGE, evaluation_page(read_evaluation(Path(directory)))
    )


def evaluation_page(records: EvaluationRecords) -> Page:
    """All that the page says."""
    compared = records.as_comparison
    said, notes = headline(records), records.content.get("notes") or []
    sections = [
        accuracy(records),
        collapse(records),
        vectors(compared),
        features(compared),
        compactness(records),
        _views(records),
        plane(compared),
        calibration(records),
        shifted_sets(records),
        outside(records),
        corruptions(records),
        classes(records),
        groups(records),
        confusions(compared),
        recipe(records),
    ]
    return Page(
        title=_title(records),
        subtitle=_subtitle(records),
        description=said,
        opening=fill("parts", "result", said, "none", _further_lines(records), notes),
        sections=present(sections),
        made=_made(records),
        heads=[arm.shown for arm in arms_by_name(compared).values()],
        classes=records.classes,
    )


def headline(records: EvaluationRecords) -> str:
    """What the models reach, in one sentence; which head is better is for paired runs to say."""
    images = f"{count(records.models[0]['images'])} test images"
    said = {head: percent_spread(*records.spread(head, "accuracy")) for head in records.heads}
    if len(said) == 1:
        mean = "" if len(records.models) == 1 else f", mean of {len(records.models)} models"
        return f"{next(iter(said.values()))} of {images} are put into their own class{mean}."
    order = sorted(said, key=lambda head: records.spread(head, "accuracy")[0] or 0.0)
    return (
        f"Between {said[order[0]]} ({order[0]}) and {said[order[-1]]} ({order[-1]}) of {images} "
        "are put into their own class."
    )


def _further_lines(records: EvaluationRecords) -> list[str]:
    """What else there is to say, in one line each."""
    lines = []
    for head in records.heads:
        gone = [model["never_predicted"] for model in records.of(head)]
        most = max(gone, key=len)
        if most:
            named = listing([*most[:5], *(["others"] if len(most) > 5 else [])])
            lines.append(
                f"{head} never predicts {plural(len(most), 'class')} that the set holds: {named}."
            )
    if len(records.heads) > 1:
        lines.append(
            "These models are described, not compared: whether heads differ is for a comparison "
            "with paired seeds to say."
        )
    return lines


def accuracy(records: EvaluationRecords) -> Section:
    """Accuracy, its balanced forms, loss and calibration of every arm."""
    axis = accuracy_axis([model["accuracy"] for model in records.models])
    others = [*of_part("accuracy")[1:], MEASURES["expected_error"]]
    columns = [
        Column("Head", kind="name"),
        Column("Accuracy", "mean ± std", kind="number main"),
        Column("Models", scale([percent(axis.low, 1), percent(axis.high, 1)]), "drawing", False),
        Column("n", "models", kind="number n"),
        *(Column(one.short, one.below) for one in others),
    ]
    arms = arms_by_name(records.as_comparison)
    rows = []
    for place, name in enumerate(records.heads):
        values = [model["accuracy"] for model in records.of(name)]
        middle, deviation = mean_std(values)
        cells = [
            TableCell(arm_name(place, arms[name], describe=True), name),
            TableCell(percent_spread(middle, deviation), middle),
            TableCell(strip(place, values, middle, axis)),
            TableCell(str(len(values)), len(values)),
            *(_measured(records, name, one) for one in others),
        ]
        rows.append(TableRow(cells))
    caption = (
        "On the test images, means over the models of each head. The expected calibration error is "
        "the mean gap between confidence and accuracy, over 15 bins of equal width."
    )
    return Section("accuracy", "Accuracy", render_table("arms", caption, columns, rows))


def _measured(records: EvaluationRecords, head: str, measure: Measure) -> TableCell:
    middle, deviation = records.spread(head, *measure.path)
    if measure.unit != "fraction":
        return spread_cell((middle, deviation), 4)
    return TableCell(over(percent(middle), deviation and 100 * deviation, 2), middle)


def recipe(records: EvaluationRecords) -> Section:
    """What each head was trained with, as the records of the training say."""
    known = any(model.get("trained_with") for model in records.models)
    section = training(records.as_comparison) if known else None
    if section is not None:
        return section
    said = "The record of this evaluation does not say how its models were trained."
    return Section("training", "How each head was trained", paragraph(said))


def _views(records: EvaluationRecords) -> Section | None:
    """A model of each head, and every view of its features that the record holds."""
    chart = projections(records)
    if chart is None:
        return None
    return Section("views", "Features in the plane", render_chart(chart), [chart])


def _title(records: EvaluationRecords) -> str:
    models, data = records.models, records.content["title"]
    if len(models) == 1:
        return f"{models[0]['name']} on {data}"
    return f"{plural(len(models), 'trained model')} on {data}"


def _subtitle(records: EvaluationRecords) -> str:
    models = records.models
    backbones = list(dict.fromkeys(str(m["backbone"]) for m in models if m.get("backbone")))
    about = [
        plural(len(records.classes), "class"),
        f"{count(models[0]['images'])} test images",
        *([listing(backbones)] if backbones else []),
    ]
    return ", ".join(about) + "; nothing was trained for this page."


def _made(records: EvaluationRecords) -> Markup:
    version = records.content.get("fixhead", "an unknown version")
    return paragraph(
        f"Made by fixhead {version} from {EVALUATION_FILE} beside this page; "
        f"“fixhead report {records.as_comparison.name}” makes it anew."
    )


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
    """A row per measure that some model's record has, by its full name, and a column per head."""
    arms = arms_by_name(records.as_comparison)
    columns = [
        Column("Measure", kind="name", sortable=False),
        *(Column(arms[name].shown, sortable=False) for name in records.heads),
    ]
    rows = []
    for one in wanted:
        if _missing_everywhere(records, *one.path):
            continue
        named = TableCell(one.title[:1].upper() + one.title[1:], one.name)
        rows.append(
            TableRow([named, *(_measured_short(records, name, one) for name in records.heads)])
        )
    return columns, rows


def _measured_short(records: EvaluationRecords, head: str, measure: Measure) -> TableCell:
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

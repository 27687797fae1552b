"""An evaluation's page: the same frame as a comparison's, the sections of one trained model or
several. A further analysis adds a section here."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from ..measures import MEASURES, Measure, of_part
from ..runs.layout import EVALUATION_FILE, EVALUATION_PAGE
from .arm_names import arms_by_name
from .cell_charts import accuracy_axis, arm_name, scale, strip
from .charts import render_chart
from .confusions import confusions
from .evaluation_measures import calibration, classes, collapse, compactness, groups
from .evaluation_sets import corruptions, outside, shifted_sets
from .numbers import count, listing, mean_std, percent, percent_spread, plural
from .page import Page, Section, paragraph, present, write
from .plane_charts import projections
from .records import EvaluationRecords, read_evaluation
from .render import fill
from .tables import Column, TableCell, TableRow, over, render_table, spread_cell
from .vector_sections import features, plane, vectors


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
    ]
    return Page(
        title=_title(records),
        subtitle=_subtitle(records),
        description=said,
        opening=fill("parts", "result", said, "none", _further_lines(records), notes),
        sections=present(sections),
        made=_made(records),
        heads=records.heads,
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

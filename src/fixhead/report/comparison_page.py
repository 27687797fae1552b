"""A comparison's page: its sections in their order, from its records alone.

A further analysis adds a section here, and a drawing routine under ``assets/``.
"""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup, escape

from ..runs.layout import CONFIG_FILE, HISTORY_FILE, REPORT_PAGE, RESULTS_FILE, RUNS_FILE
from ..runs.records import Record
from . import comparison_charts
from .comparison_charts import confusions
from .comparison_tables import arms_table, groups_table, pairs_table
from .numbers import listing, plural
from .page import Chart, Page, Section, paragraph, present, render_chart, write
from .pair_text import Sentence, headline, metric_name, most_accurate
from .recipes import render_recipes, reproduction
from .records import ArmWords, ComparisonRecords, arms_by_name, read_records, settings_of_arms
from .render import fill, join
from .tables import Column, TableCell, arm_name
from .vectors import features, plane, vectors

_MANY_PAIRS = 15


def write_page(directory: Path) -> Path:
    """Write ``directory/report.html`` from the records there alone; give its path.

    Reads config.json, runs.jsonl, results.json and runs/*/history.jsonl. The old page stays
    until the new one is whole.

    Raises:
        RequestError: the records are missing, unreadable or of another schema; or plotly, whose
            script the page carries, is not installed.
    """
    return write(Path(directory) / REPORT_PAGE, comparison_page(read_records(Path(directory))))


def comparison_page(records: ComparisonRecords) -> Page:
    """All that the page says."""
    said = headline(records)
    sections = [
        accuracy(records),
        differences(records),
        learning(records),
        vectors(records),
        features(records),
        collapse(records),
        plane(records),
        classes(records),
        confusions(records),
        failures(records),
        training(records),
        reproduction(records),
    ]
    also = [_sentence(one) for one in said.also]
    notes = records.results.get("notes") or []
    return Page(
        title=_title(records),
        subtitle=_subtitle(records),
        description=said.main.text,
        opening=fill("parts", "result", _sentence(said.main), said.main.kind, also, notes),
        sections=present(sections),
        made=_made(records),
        heads=[arm.shown for arm in _arms(records)],
        classes=records.classes,
    )


def _sentence(said: Sentence) -> Markup:
    """The figures in a softer voice, with their numbers kept whole at a line's end."""
    if not said.figures:
        return escape(said.text)
    return fill("parts", "sentence", said.lead, said.figures.replace("p = ", "p\u00a0=\u00a0"))


def accuracy(records: ComparisonRecords) -> Section:
    """Every arm, and its groups of classes where they are unequal."""
    body = join([arms_table(records), groups_table(records)])
    return Section("accuracy", metric_name(records).capitalize(), body)


def differences(records: ComparisonRecords) -> Section | None:
    """Every pair of arms over the seeds that both finished."""
    table = pairs_table(records)
    if table is None:
        return None
    chooser = _pair_chooser(records) if len(records.results["pairs"]) > 3 else None
    return Section("differences", "Paired differences", join([chooser, table]))


def _pair_chooser(records: ComparisonRecords) -> Markup:
    """All pairs, or those with one arm; a long list starts with the best arm's."""
    best = most_accurate(records) if len(records.results["pairs"]) > _MANY_PAIRS else None
    options = [("", "all heads", False)]
    options += [(str(place), head, head == best) for place, head in enumerate(records.heads)]
    return fill("parts", "chooser", "Show pairs with", options, "data-filter", "table-pairs")


def learning(records: ComparisonRecords) -> Section | None:
    """Curves by epoch, and the runs that have none."""
    if not records.runs:
        return None
    chart = comparison_charts.curves(records)
    missing = comparison_charts.without_history(records)
    note = f"No history was found for {listing(missing)}." if missing else None
    body = [
        render_chart(chart, _arms(records)) if chart else None,
        paragraph(note, "missing") if note else None,
    ]
    return Section("learning", "Learning", join(body), [chart] if chart else [])


def collapse(records: ComparisonRecords) -> Section | None:
    """Neural collapse by epoch, where the runs watched it."""
    chart = comparison_charts.collapse(records)
    return _charted("collapse", "Neural collapse", chart, records)


def classes(records: ComparisonRecords) -> Section | None:
    """The accuracy of every class."""
    return _charted("classes", "Classes", comparison_charts.class_accuracies(records), records)


def failures(records: ComparisonRecords) -> Section | None:
    """The runs that stopped, with their errors."""
    if not records.failed:
        return None
    intro = paragraph("These runs count in no mean and in no difference.")
    return Section("failures", "Failed runs", join([intro, *map(_failure, records.failed)]))


def _failure(run: Record) -> Markup:
    error = (run.get("error") or "no error was recorded").rstrip()
    return fill("comparison", "failure", run["run_id"], error.splitlines()[-1], error)


def training(records: ComparisonRecords) -> Section | None:
    """What each arm was trained with."""
    arms = [
        (TableCell(arm_name(place, arm), name), records.of(name))
        for place, (name, arm) in enumerate(arms_by_name(records).items())
        if records.of(name)
    ]
    if not arms:
        return None
    settings = settings_of_arms([runs for _, runs in arms])
    labels = [Column("Head", kind="name", sortable=False)]
    body = render_recipes(labels, [[name] for name, _ in arms], *settings)
    return Section("training", "How each head was trained", body)


def _charted(
    name: str, title: str, chart: Chart | None, records: ComparisonRecords
) -> Section | None:
    if chart is None:
        return None
    return Section(name, title, render_chart(chart, _arms(records)), [chart])


def _arms(records: ComparisonRecords) -> list[ArmWords]:
    return list(arms_by_name(records).values())


def _title(records: ComparisonRecords) -> str:
    data, backbone = records.results["data"], records.results["backbone"]
    return f"{plural(len(records.heads), 'head')} on {Path(data).name or data}, {backbone}"


def _subtitle(records: ComparisonRecords) -> str:
    """``10 classes, 64 non-negative features; 3 seeds, 30 epochs; 18 runs finished.``"""
    run = next(iter(records.done), None)
    seeds = len({run["seed"] for run in records.done})
    said = [f"{plural(len(records.done), 'run')} finished" + _failed(records)]
    if run is not None:
        sign = "non-negative " if run.get("nonnegative_features") else ""
        about = [
            plural(len(records.classes), "class") if records.classes else None,
            f"{run['features']} {sign}features" if run.get("features") else None,
            plural(seeds, "seed"),
            plural(run["epochs"], "epoch") if run.get("epochs") else None,
        ]
        said = [", ".join(part for part in about if part), *said]
    return "; ".join(said) + "."


def _failed(records: ComparisonRecords) -> str:
    return f", {len(records.failed)} failed" if records.failed else ""


def _made(records: ComparisonRecords) -> Markup:
    kept = [CONFIG_FILE, RUNS_FILE, RESULTS_FILE, f"runs/*/{HISTORY_FILE}"]
    version = records.config.get("fixhead", "an unknown version")
    return paragraph(
        f"Made by fixhead {version} from {listing(kept)} beside this page; "
        f"“fixhead report {records.name}” makes it anew."
    )

"""A comparison's page: its sections in their order, from its records alone.

Its tables are its arms, their groups of classes, and paired differences. A further analysis adds a
section here, and a drawing routine under ``assets/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from markupsafe import Markup, escape

from ..runs.claims import CLAIM_SEEDS, LEVEL, about_equivalence, about_test
from ..runs.layout import CONFIG_FILE, HISTORY_FILE, REPORT_PAGE, RESULTS_FILE, RUNS_FILE
from ..runs.records import Record
from . import comparison_charts
from .comparison_charts import confusions
from .numbers import (
    MISSING,
    THIN,
    count,
    fixed,
    listing,
    mean_std,
    p_value,
    percent,
    percent_spread,
    plural,
    signed,
)
from .page import Chart, Page, Section, paragraph, present, render_chart, write
from .pair_text import (
    Sentence,
    against,
    against_pairs,
    claims,
    headline,
    metric_name,
    most_accurate,
)
from .recipes import reproduction, training
from .records import ArmWords, ComparisonRecords, arms_by_name, read_records
from .render import fill, join
from .tables import (
    Axis,
    Column,
    TableCell,
    TableRow,
    accuracy_axis,
    arm_name,
    forest,
    render_table,
    scale,
    strip,
)
from .vectors import features, plane, vectors

_MANY_PAIRS = 15

_OTHER = {
    "test_accuracy": ("balanced_accuracy", "Balanced"),
    "balanced_accuracy": ("test_accuracy", "Plain"),
}
"""Of plain and balanced accuracy the one that the comparison is not about, and its column."""


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
        from_baseline(records),
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


def from_baseline(records: ComparisonRecords) -> Section | None:
    """Every other arm minus the baseline; where there is only one, the table of pairs says it."""
    held = against(records)
    if held is None or len(held["arms"]) < 2:
        return None
    return Section("against", f"Differences from {held['baseline']}", _against_table(records, held))


def differences(records: ComparisonRecords) -> Section | None:
    """Every pair of arms over the seeds that both finished."""
    table = pairs_table(records)
    if table is None:
        return None
    chooser = _pair_chooser(records) if len(records.results["pairs"]) > 3 else None
    title = "All pairs" if len(records.results["pairs"]) > 1 else "Paired difference"
    return Section("differences", title, join([chooser, table]))


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


def arms_table(records: ComparisonRecords) -> Markup:
    """Accuracy (mean ± standard deviation over seeds), cost and time of every arm."""
    arms = records.results["arms"]
    values = [value for arm in arms for value in arm[records.metric]["values"]]
    axis = accuracy_axis(values) if values else None
    columns = [
        Column("Head", kind="name"),
        Column(metric_name(records).capitalize(), "mean ± std", kind="number main"),
        Column("Seeds", _ends(axis), kind="drawing", sortable=False),
        Column("n", "runs", kind="number n"),
        Column(_OTHER[records.metric][1], "chosen epoch"),
        Column("Last epoch", "test accuracy"),
        Column("Validation", "accuracy"),
        Column("Head parameters", "trained"),
        Column("Seconds", "training"),
    ]
    heads = arms_by_name(records)
    rows = [
        TableRow(_arm_cells(records, place, arm, heads[arm["head"]], axis))
        for place, arm in enumerate(arms)
    ]
    caption = (
        "Every head, over its seeds. The epoch was chosen on validation; “last epoch” is the test "
        "accuracy without that choice. Std is the sample standard deviation."
    )
    return render_table("arms", caption, columns, rows)


def groups_table(records: ComparisonRecords) -> Markup | None:
    """Accuracy of the classes with many, medium and few training images; None without groups."""
    groups = records.results.get("groups")
    if not groups:
        return None
    heads = arms_by_name(records)
    columns = [
        Column("Head", kind="name"),
        *(Column(name.capitalize(), plural(len(own), "class")) for name, own in groups.items()),
    ]
    rows = [
        TableRow(
            [
                TableCell(arm_name(place, heads[arm["head"]]), arm["head"]),
                *(
                    TableCell(percent_spread(group["mean"], group["std"]), group["mean"])
                    for group in (arm.get("group_accuracy") or {}).values()
                ),
            ]
        )
        for place, arm in enumerate(records.results["arms"])
    ]
    caption = (
        "Test accuracy over groups of classes, mean ± std over seeds, of the chosen epoch."
        + _about_groups(records)
    )
    return render_table("groups", caption, columns, rows)


def _about_groups(records: ComparisonRecords) -> str:
    """Which classes the groups hold."""
    groups, counts = records.results["groups"], records.results.get("class_counts")
    if not counts:
        return ""
    spans = []
    for name, classes in groups.items():
        sizes = [counts[place] for place in classes]
        spans.append(f"{name} {count(min(sizes))} to {count(max(sizes))}")
    return f" Groups by the classes’ training images: {', '.join(spans)}."


def _arm_cells(
    records: ComparisonRecords, place: int, arm: Record, head: ArmWords, axis: Axis | None
) -> list[TableCell]:
    chosen, last, held = arm[records.metric], arm["last_epoch_accuracy"], arm["val_accuracy"]
    other = arm[_OTHER[records.metric][0]]
    seconds, _ = mean_std(_known(records.of(arm["head"]), "train_seconds"))
    runs = str(arm["n"]) if not arm["failed"] else f"{arm['n']}, {arm['failed']} failed"
    drawing = strip(place, chosen["values"], chosen["mean"], axis) if axis else MISSING
    return [
        TableCell(arm_name(place, head, describe=True), head.name),
        TableCell(percent_spread(chosen["mean"], chosen["std"]), chosen["mean"]),
        TableCell(drawing),
        TableCell(runs, arm["n"]),
        TableCell(percent(other["mean"]), other["mean"]),
        TableCell(percent_spread(last["mean"], last["std"]), last["mean"]),
        TableCell(percent(held["mean"]), held["mean"]),
        TableCell(count(arm.get("head_parameters")), arm.get("head_parameters")),
        TableCell(fixed(seconds, 1), seconds),
    ]


def _against_table(records: ComparisonRecords, held: Record) -> Markup:
    """Differences from the baseline in points, with interval, drawing and p."""
    pairs = against_pairs(records, held)
    axis = _difference_axis(pairs)
    columns = [
        Column("Head", f"minus {held['baseline']}", kind="name"),
        *_difference_columns(axis),
        Column("p", pairs[0]["corrected"].strip()),
    ]
    heads = arms_by_name(records)
    rows = []
    for pair in pairs:
        name = arm_name(records.heads.index(pair["a"]), heads[pair["a"]])
        rows.append(TableRow([TableCell(name, pair["a"]), *_difference_cells(records, pair, axis)]))
    left_out = (
        f" Too few finished seeds, and so left out: {listing(held['left_out'])}."
        if held["left_out"]
        else ""
    )
    caption = (
        f"{about_test(held)} A filled point marks p < {LEVEL}. p is left out below {CLAIM_SEEDS} "
        f"paired seeds.{left_out} {about_equivalence(held) or ''}"
    ).rstrip()
    return render_table("against", caption, columns, rows)


def _difference_columns(axis: Axis) -> list[Column]:
    return [
        Column("Difference", "points"),
        Column(f"95{THIN}% interval", "points"),
        Column("Interval", _ends_signed(axis), kind="drawing", sortable=False),
    ]


def _difference_cells(records: ComparisonRecords, pair: Record, axis: Axis) -> list[TableCell]:
    """Difference, interval, drawing and p."""
    difference = pair["difference"]
    ends = difference["ci95"]
    p = pair["p_value"] if claims(records, pair) else None
    interval = f"{signed(100 * ends[0])} to {signed(100 * ends[1])}" if ends else MISSING
    return [
        TableCell(signed(100 * difference["mean"]), difference["mean"]),
        TableCell(interval, ends[1] - ends[0] if ends else None),
        TableCell(forest(difference["mean"], ends, axis, full=p is not None and p < LEVEL)),
        TableCell(p_value(p), p),
    ]


def pairs_table(records: ComparisonRecords) -> Markup | None:
    """Paired differences in points, with interval, drawing and Holm-corrected p."""
    pairs = records.results["pairs"]
    if not pairs:
        return None
    axis = _difference_axis(pairs)
    columns = [
        Column("Pair", "first minus second", kind="name"),
        *_difference_columns(axis),
        Column("p", "Holm-corrected"),
        Column("n", "paired seeds", kind="number n"),
    ]
    rows = [_pair_row(records, pair, axis) for pair in pairs]
    held = against(records)
    alone = about_equivalence(held) if held is not None and len(held["arms"]) == 1 else None
    caption = (
        "Paired over seeds: one seed gives every head the same backbone, data order and "
        f"augmentation. {_about_p(len(pairs))} A filled point marks p < {LEVEL}. p is left out "
        f"below {CLAIM_SEEDS} paired seeds. {alone or ''}"
    ).rstrip()
    return render_table("pairs", caption, columns, rows)


def _about_p(pairs: int) -> str:
    if pairs == 1:
        return "p is from the paired t-test."
    return (
        "Each interval stands for its own pair; p is from the paired t-test, Holm-corrected over "
        f"the {pairs} pairs of this table, so the two can disagree."
    )


def _pair_row(records: ComparisonRecords, pair: Record, axis: Axis) -> TableRow:
    heads = arms_by_name(records)
    places = [records.heads.index(pair[side]) for side in ("a", "b")]
    names = [arm_name(place, heads[records.heads[place]]) for place in places]
    cells = [
        TableCell(fill("cells", "pair", *names), f"{pair['a']} {pair['b']}"),
        *_difference_cells(records, pair, axis),
        TableCell(str(pair["n"]), pair["n"]),
    ]
    return TableRow(cells, {"data-arms": " ".join(map(str, places))})


def _known(runs: Sequence[Record], name: str) -> list[float]:
    return [run[name] for run in runs if run.get(name) is not None]


def _ends(axis: Axis | None) -> Markup | None:
    return scale([percent(axis.low, 1), percent(axis.high, 1)]) if axis else None


def _difference_axis(pairs: list[Record]) -> Axis:
    """Symmetric about zero; holds every mean, and intervals unless they dwarf the means."""
    largest = max(abs(pair["difference"]["mean"]) for pair in pairs)
    ends = [abs(end) for pair in pairs for end in pair["difference"]["ci95"] or ()]
    reach = max([largest, *ends])
    limit = min(reach, max(3 * largest, 2 * median(ends) if ends else 0.0))
    half = 1.08 * limit or 0.01
    return Axis(-half, half)


def _ends_signed(axis: Axis) -> Markup:
    return scale([signed(100 * axis.low, 1), "0", signed(100 * axis.high, 1)])

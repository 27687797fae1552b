"""A comparison's tables: its arms, their groups of classes, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from markupsafe import Markup

from ..runs.claims import CLAIM_SEEDS
from ..runs.records import Record
from .numbers import (
    MISSING,
    THIN,
    count,
    fixed,
    mean_std,
    p_value,
    percent,
    percent_spread,
    plural,
    signed,
)
from .pair_text import LEVEL, claims, metric_name
from .records import ArmWords, ComparisonRecords, arms_by_name
from .render import fill
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
    seconds, _ = mean_std(_known(records.of(arm["head"]), "train_seconds"))
    runs = str(arm["n"]) if not arm["failed"] else f"{arm['n']}, {arm['failed']} failed"
    drawing = strip(place, chosen["values"], chosen["mean"], axis) if axis else MISSING
    return [
        TableCell(arm_name(place, head, describe=True), head.name),
        TableCell(percent_spread(chosen["mean"], chosen["std"]), chosen["mean"]),
        TableCell(drawing),
        TableCell(runs, arm["n"]),
        TableCell(percent_spread(last["mean"], last["std"]), last["mean"]),
        TableCell(percent(held["mean"]), held["mean"]),
        TableCell(count(arm.get("head_parameters")), arm.get("head_parameters")),
        TableCell(fixed(seconds, 1), seconds),
    ]


def pairs_table(records: ComparisonRecords) -> Markup | None:
    """Paired differences in points, with interval, drawing and Holm-corrected p."""
    pairs = records.results["pairs"]
    if not pairs:
        return None
    axis = _difference_axis(pairs)
    columns = [
        Column("Pair", "first minus second", kind="name"),
        Column("Difference", "points"),
        Column(f"95{THIN}% interval", "points"),
        Column("Interval", _ends_signed(axis), kind="drawing", sortable=False),
        Column("p", "Holm-corrected"),
        Column("n", "paired seeds", kind="number n"),
    ]
    rows = [_pair_row(records, pair, axis) for pair in pairs]
    caption = (
        "Paired over seeds: one seed gives every head the same backbone, data order and "
        f"augmentation. {_about_p(len(pairs))} A filled point marks p < {LEVEL}. p is left out "
        f"below {CLAIM_SEEDS} paired seeds."
    )
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
    difference = pair["difference"]
    ends = difference["ci95"]
    p = pair["p_value"] if claims(records, pair) else None
    interval = f"{signed(100 * ends[0])} to {signed(100 * ends[1])}" if ends else MISSING
    cells = [
        TableCell(fill("cells", "pair", *names), f"{pair['a']} {pair['b']}"),
        TableCell(signed(100 * difference["mean"]), difference["mean"]),
        TableCell(interval, ends[1] - ends[0] if ends else None),
        TableCell(forest(difference["mean"], ends, axis, full=p is not None and p < LEVEL)),
        TableCell(p_value(p), p),
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

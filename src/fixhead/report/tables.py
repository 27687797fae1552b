"""The tables: arms, their groups of classes, paired differences, geometry of the class vectors."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median

from .html import Html, element
from .marks import Axis, arm_name, forest, scale, strip
from .naming import Head, heads_by_name
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
from .records import Record, Records, dig
from .sentences import CLAIM_SEEDS, LEVEL, claims
from .table import Cell, Column, Row, render
from .telling import metric_name


def arms_table(records: Records) -> Html:
    """Accuracy (mean ± standard deviation over seeds), cost and time of every arm."""
    arms = records.results["arms"]
    axis = _accuracy_axis(records)
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
    heads = heads_by_name(records)
    rows = [
        Row(_arm_cells(records, place, arm, heads[arm["head"]], axis))
        for place, arm in enumerate(arms)
    ]
    caption = (
        "Every head, over its seeds. The epoch was chosen on validation; “last epoch” is the test "
        "accuracy without that choice. Std is the sample standard deviation."
    )
    return render("arms", caption, columns, rows)


def groups_table(records: Records) -> Html | None:
    """Accuracy of the classes with many, medium and few training images; None without groups."""
    groups = records.results.get("groups")
    if not groups:
        return None
    heads = heads_by_name(records)
    columns = [
        Column("Head", kind="name"),
        *(Column(name.capitalize(), plural(len(own), "class")) for name, own in groups.items()),
    ]
    rows = [
        Row(
            [
                Cell(arm_name(place, heads[arm["head"]]), arm["head"]),
                *(
                    Cell(percent_spread(group["mean"], group["std"]), group["mean"])
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
    return render("groups", caption, columns, rows)


def _about_groups(records: Records) -> str:
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
    records: Records, place: int, arm: Record, head: Head, axis: Axis | None
) -> list[Cell]:
    chosen, last, held = arm[records.metric], arm["last_epoch_accuracy"], arm["val_accuracy"]
    seconds, _ = mean_std(_known(records.of(arm["head"]), "train_seconds"))
    runs = str(arm["n"]) if not arm["failed"] else f"{arm['n']}, {arm['failed']} failed"
    drawing = strip(place, chosen["values"], chosen["mean"], axis) if axis else MISSING
    return [
        Cell(arm_name(place, head, describe=True), head.name),
        Cell(percent_spread(chosen["mean"], chosen["std"]), chosen["mean"]),
        Cell(drawing),
        Cell(runs, arm["n"]),
        Cell(percent_spread(last["mean"], last["std"]), last["mean"]),
        Cell(percent(held["mean"]), held["mean"]),
        Cell(count(arm.get("head_parameters")), arm.get("head_parameters")),
        Cell(fixed(seconds, 1), seconds),
    ]


def pairs_table(records: Records) -> Html | None:
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
    return render("pairs", caption, columns, rows)


def _about_p(pairs: int) -> str:
    if pairs == 1:
        return "p is from the paired t-test."
    return (
        "Each interval stands for its own pair; p is from the paired t-test, Holm-corrected over "
        f"the {pairs} pairs of this table, so the two can disagree."
    )


def _pair_row(records: Records, pair: Record, axis: Axis) -> Row:
    heads = heads_by_name(records)
    places = [records.heads.index(pair[side]) for side in ("a", "b")]
    names = [arm_name(place, heads[records.heads[place]]) for place in places]
    difference = pair["difference"]
    ends = difference["ci95"]
    p = pair["p_value"] if claims(records, pair) else None
    interval = f"{signed(100 * ends[0])} to {signed(100 * ends[1])}" if ends else MISSING
    cells = [
        Cell(_pair_name(names), f"{pair['a']} {pair['b']}"),
        Cell(signed(100 * difference["mean"]), difference["mean"]),
        Cell(interval, ends[1] - ends[0] if ends else None),
        Cell(forest(difference["mean"], ends, axis, full=p is not None and p < LEVEL)),
        Cell(p_value(p), p),
        Cell(str(pair["n"]), pair["n"]),
    ]
    return Row(cells, {"data_arms": " ".join(map(str, places))})


def _pair_name(names: Sequence[Html]) -> Html:
    minus = element("span", element("span", "−", class_="minus"), " ", names[1], class_="second")
    return element("span", names[0], " ", minus, class_="pair-name")


def geometry_table(records: Records) -> Html | None:
    """How the class vectors lie at the end, and the features to them; means over seeds."""
    heads = heads_by_name(records)
    rows = []
    for place, name in enumerate(records.heads):
        found = [run["geometry"] for run in records.of(name) if run.get("geometry")]
        if found:
            rows.append(Row(_geometry_cells(place, heads[name], found)))
    if not rows:
        return None
    columns = [
        Column("Head", kind="name"),
        Column("Vector cosines", "mean (smallest to largest)"),
        Column("Compactness", "cosine to own vector"),
        Column("Class means", "cosine between them"),
        Column("Spearman ρ", "confusion and cosine"),
        Column("Feature norm", "mean"),
        Column("Scale S", "at the end"),
    ]
    caption = (
        "Class vectors and test features after training, means over seeds. Compact classes have a "
        "high cosine to their own vector; separate classes have a low cosine between their means."
    )
    return render("geometry", caption, columns, rows)


def _geometry_cells(place: int, head: Head, found: list[Record]) -> list[Cell]:
    cosine = {
        end: _mean_at(found, "certificate", f"cosine_{end}") for end in ("min", "mean", "max")
    }
    span = f"{fixed(cosine['mean'])} ({fixed(cosine['min'])} to {fixed(cosine['max'])})"
    cells = [
        Cell(arm_name(place, head), head.name),
        Cell(span if cosine["mean"] is not None else MISSING, cosine["mean"]),
    ]
    for path in (("own_cosine", "mean"), ("other_cosine", "mean"), ("spearman", "rho")):
        value = _mean_at(found, *path)
        cells.append(Cell(fixed(value), value))
    norm, size = _mean_at(found, "feature_norm", "mean"), _mean_at(found, "scale")
    return [*cells, Cell(fixed(norm, 1), norm), Cell(fixed(size), size)]


def _mean_at(found: list[Record], *path: str) -> float | None:
    values = [value for value in (dig(row, *path) for row in found) if value is not None]
    return mean(values) if values else None


def _known(runs: Sequence[Record], name: str) -> list[float]:
    return [run[name] for run in runs if run.get(name) is not None]


def _accuracy_axis(records: Records) -> Axis | None:
    values = [v for arm in records.results["arms"] for v in arm[records.metric]["values"]]
    if not values:
        return None
    low, high = min(values), max(values)
    room = max(0.08 * (high - low), 0.002)
    return Axis(max(0.0, low - room), min(1.0, high + room))


def _ends(axis: Axis | None) -> Html | None:
    return scale([percent(axis.low, 1), percent(axis.high, 1)]) if axis else None


def _difference_axis(pairs: list[Record]) -> Axis:
    """Symmetric about zero; holds every mean, and intervals unless they dwarf the means."""
    largest = max(abs(pair["difference"]["mean"]) for pair in pairs)
    ends = [abs(end) for pair in pairs for end in pair["difference"]["ci95"] or ()]
    reach = max([largest, *ends])
    limit = min(reach, max(3 * largest, 2 * median(ends) if ends else 0.0))
    half = 1.08 * limit or 0.01
    return Axis(-half, half)


def _ends_signed(axis: Axis) -> Html:
    return scale([signed(100 * axis.low, 1), "0", signed(100 * axis.high, 1)])

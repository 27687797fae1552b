"""Sections of an evaluation about sets other than its test images.

Shifted sets (the same classes, other pictures), sets of other classes, and the corruptions.
"""

from __future__ import annotations

from markupsafe import Markup

from ..runs.records import Record
from .numbers import MISSING, THIN, count, fixed, listing, mean_std, percent, signed
from .page import Section, paragraph, tabs
from .records import EvaluationRecords, arms_by_name
from .render import fill, join
from .tables import Axis, Column, TableCell, TableRow, arm_name, forest, render_table, scale, swatch

_SCORES = (("largest_cosine", "Largest cosine"), ("energy", "Energy"))


def shifted_sets(records: EvaluationRecords) -> Section | None:
    """A table for each further set."""
    sets = records.content.get("also") or []
    if not sets:
        return None
    parts = [_shifted_set(records, place, extra) for place, extra in enumerate(sets)]
    return Section("also", "Further test sets", join(parts))


def _shifted_set(records: EvaluationRecords, number: int, extra: Record) -> Markup:
    reach = [abs(arm["drop"][end]) for arm in extra["arms"] for end in ("low", "high")]
    half = 1.08 * max(reach) or 0.01
    axis = Axis(-half, half)
    columns = [
        Column("Head", kind="name"),
        Column("Accuracy", "here"),
        Column("Test set", "accuracy"),
        Column("Drop", "points"),
        Column(f"95{THIN}% interval", "points"),
        Column("Interval", scale([signed(-100 * half, 1), "0", signed(100 * half, 1)]), "drawing"),
        Column("Against", extra["baseline"]),
    ]
    heads = arms_by_name(records.as_comparison)
    rows = []
    for arm in extra["arms"]:
        drop, against = arm["drop"], arm.get("drop_against_baseline")
        place = records.heads.index(arm["head"])
        cells = [
            TableCell(arm_name(place, heads[arm["head"]]), arm["head"]),
            TableCell(percent(arm["accuracy"]), arm["accuracy"]),
            TableCell(percent(arm["test_accuracy"]), arm["test_accuracy"]),
            TableCell(signed(100 * drop["value"]), drop["value"]),
            TableCell(_span(drop), drop["high"] - drop["low"]),
            TableCell(forest(drop["value"], (drop["low"], drop["high"]), axis, full=False)),
            TableCell(f"{signed(100 * against['value'])} ({_span(against)})", against["value"])
            if against
            else TableCell(MISSING),
        ]
        rows.append(TableRow(cells))
    notes = " ".join(extra.get("notes") or ())
    caption = (
        f"{count(extra['images'])} images. A drop is the test accuracy less the accuracy here; "
        f"intervals are bootstrapped over images. “Against” is the drop less that of "
        f"{extra['baseline']}. {notes}".rstrip()
    )
    table = render_table(f"also-{number}", caption, columns, rows)
    return fill("parts", "titled", extra["title"], table)


def _span(interval: Record) -> str:
    return f"{signed(100 * interval['low'])} to {signed(100 * interval['high'])}"


def outside(records: EvaluationRecords) -> Section | None:
    """A table for each set: AUROC and false positives at 95 % recall, by score."""
    sets = records.content.get("outside") or []
    if not sets:
        return None
    parts = [_outside_set(records, place, extra) for place, extra in enumerate(sets)]
    return Section("outside", "Other classes", join(parts))


def _outside_set(records: EvaluationRecords, number: int, extra: Record) -> Markup:
    columns = [Column("Head", kind="name")]
    for _, title in _SCORES:
        columns += [Column(title, "AUROC"), Column("False positives", "at 95 % recall")]
    heads = arms_by_name(records.as_comparison)
    rows = []
    for place, name in enumerate(records.heads):
        own = [model for model in extra["models"] if (model["head"] or model["name"]) == name]
        cells = [TableCell(arm_name(place, heads[name]), name)]
        for score, _ in _SCORES:
            for field in ("auroc", "fpr_at_95"):
                middle, _ = mean_std([model[score][field] for model in own])
                cells.append(TableCell(percent(middle), middle))
        rows.append(TableRow(cells))
    caption = (
        f"{count(extra['images'])} images of classes that no head knows, against the test images. "
        "AUROC is the chance that a test image scores higher: 50 % tells nothing, 100 % all. "
        "False positives are the outside images that pass where 95 % of the test images do."
    )
    table = render_table(f"outside-{number}", caption, columns, rows)
    return fill("parts", "titled", extra["title"], table)


def corruptions(records: EvaluationRecords) -> Section | None:
    """The arms side by side, every arm's table in a tab of its own, and the example."""
    found = records.content.get("corruptions")
    if not found:
        return None
    heads = arms_by_name(records.as_comparison)
    names = [arm_name(records.heads.index(a["head"]), heads[a["head"]]) for a in found["arms"]]
    panels = [_severities(found, place, arm) for place, arm in enumerate(found["arms"])]
    tables = panels[0] if len(panels) == 1 else tabs("Heads", names, panels, group="corruptions-")
    body = join(
        [paragraph(_source(found)), _arms(records, found, names), tables, _example(records)]
    )
    return Section("corruptions", "Corruptions", body)


def _source(found: Record) -> str:
    if found.get("published"):
        return (
            f"The pictures are those of {found['published']}, as they were published; every head "
            "sees the same."
        )
    return (
        f"The test images, corrupted with the strengths published for {found['table']} pixels and "
        f"the seed {found['seed']}; every head sees the same pixels."
    )


def _arms(records: EvaluationRecords, found: Record, names: list[Markup]) -> Markup | None:
    if len(names) == 1:
        return None
    columns = [
        Column("Head", kind="name"),
        Column("Clean", "accuracy"),
        Column("Corrupted", "mean accuracy"),
        Column("mCE", "mean corruption error"),
    ]
    rows = []
    for name, arm in zip(names, found["arms"], strict=True):
        clean, _ = records.spread(arm["head"], "accuracy")
        error = arm["mean_corruption_error"]
        rows.append(
            TableRow(
                [
                    TableCell(name, arm["head"]),
                    TableCell(percent(clean), clean),
                    TableCell(percent(arm["mean_accuracy"]), arm["mean_accuracy"]),
                    TableCell(fixed(error, 3), error),
                ]
            )
        )
    caption = (
        "The mean accuracy is over all kinds and severities. The corruption error of a kind is the "
        f"sum of a head’s errors over the severities by that of {found['baseline']}; mCE is its "
        "mean over the kinds, below 1 where the head makes fewer errors."
    )
    return render_table("corruption-arms", caption, columns, rows)


def _severities(found: Record, place: int, arm: Record) -> Markup:
    """One arm: a row for every kind, a column for every severity."""
    held = arm["corruption_error"]
    columns = [
        Column("Corruption", kind="name"),
        *(Column(f"Severity {one}") for one in found["severities"]),
        Column("Mean"),
        *([Column("Error", f"against {found['baseline']}")] if held else []),
    ]
    rows = []
    for kind, rates in arm["accuracy"].items():
        values = list(rates.values())
        values.append(sum(values) / len(values))
        cells = [TableCell(_words(kind), kind), *(TableCell(percent(v, 1), v) for v in values)]
        if held:
            cells.append(TableCell(fixed(held[kind], 3), held[kind]))
        rows.append(TableRow(cells))
    caption = f"Accuracy of {arm['head']}, the mean of its models."
    return render_table(f"corruption-{place}", caption, columns, rows)


def _example(records: EvaluationRecords) -> Markup | None:
    """A grid of pictures: kinds down, severities across."""
    found = records.content["corruptions"]
    examples = found.get("examples")
    if not examples:
        return None
    pictures = {(one["kind"], one["severity"]): one for one in examples["pictures"]}
    rows = [
        (_words(kind), [_picture(records, pictures[kind, one]) for one in found["severities"]])
        for kind in found["kinds"]
    ]
    before = None
    if examples["image"] is not None:
        before = {"image": examples["image"], "name": records.classes[examples["label"]]}
    caption = _caption(records, examples)
    return fill("corruptions", "example", caption, before, found["severities"], rows)


def _caption(records: EvaluationRecords, examples: Record) -> str:
    who = (
        "The marks below a picture are of the heads that recognise it in at least half of their "
        "models."
        if len(records.heads) > 1
        else "A picture is marked where at least half of the models recognise it."
    )
    if examples["index"] is None:
        return f"The first image of each kind. {who}"
    return f"Test image number {examples['index']} under every corruption. {who}"


def _picture(records: EvaluationRecords, picture: Record) -> Record:
    """A picture, its marks and its words: the heads that recognise it."""
    seen = [head for head, share in picture["recognised"].items() if share >= 0.5]
    marks = [swatch(place) for place, head in enumerate(records.heads) if head in seen]
    words = f"recognised by {listing(seen)}" if seen else "recognised by none"
    return {**picture, "marks": marks, "words": words}


def _words(kind: str) -> str:
    return kind.replace("-", " ")

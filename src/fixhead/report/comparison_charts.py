"""Charts of a comparison, and its confused classes: learning curves, accuracy per class, neural
collapse by epoch, and the worst-confused pairs of every arm, with pictures where there are some."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..measures import Measure, by_epoch
from ..runs.records import Record
from .numbers import count, fixed, listing, mean_std, percent, plural, rounded
from .page import Chart, Choice, Section, paragraph, tabs
from .records import ComparisonRecords, arms_by_name, dig
from .render import fill, join
from .tables import arm_name

_MEASURES = ("val_accuracy", "val_loss", "train_accuracy", "train_loss")
_MANY_CLASSES = 40


def curves(records: ComparisonRecords) -> Chart | None:
    """Accuracy and loss by epoch of every run that kept a history."""
    arms = [_curves_of(records, head) for head in records.heads]
    if not any(arms):
        return None
    ends = [_last_mean(records, head) for head in records.heads]
    said = [
        f"{head} {percent(end, 1)}"
        for head, end in zip(records.heads, ends, strict=True)
        if end is not None
    ]
    return Chart(
        name="curves",
        kind="curves",
        title="Accuracy by epoch",
        explanation=(
            "Thick lines are means over seeds, thin lines single runs; a mark shows the epoch that "
            "validation chose."
        ),
        summary=(
            "Line chart of validation accuracy by epoch. Mean at the last epoch: "
            f"{listing(said) if said else 'no finished run'}."
        ),
        data={"arms": arms},
        height=460,
        legend=True,
        controls=[
            Choice(
                "measure",
                "Show",
                [
                    ("val_accuracy", "Validation accuracy"),
                    ("val_error", "Validation error (log scale)"),
                    ("val_loss", "Validation loss"),
                    ("train_accuracy", "Training accuracy"),
                    ("train_loss", "Training loss"),
                ],
            )
        ],
    )


def without_history(records: ComparisonRecords) -> list[str]:
    """The runs whose history is missing."""
    return [run["run_id"] for run in records.runs if run["run_id"] not in records.histories]


def _curves_of(records: ComparisonRecords, head: str) -> list[Record]:
    found = []
    for run in records.runs:
        history = records.histories.get(run["run_id"])
        if run["head"] != head or not history:
            continue
        epochs = [row["epoch"] for row in history]
        curve: Record = {name: _all_rounded(row.get(name) for row in history) for name in _MEASURES}
        curve |= {
            "seed": run["seed"],
            "done": run["status"] == "done",
            "best": run.get("best_epoch"),
        }
        if epochs != list(range(1, len(epochs) + 1)):
            curve["epochs"] = epochs
        found.append(curve)
    return found


def _last_mean(records: ComparisonRecords, head: str) -> float | None:
    runs = [records.histories.get(run["run_id"], ()) for run in records.of(head)]
    ends = [history[-1].get("val_accuracy") for history in runs if history]
    return mean_std([end for end in ends if end is not None])[0]


def class_accuracies(records: ComparisonRecords) -> Chart | None:
    """Test accuracy of every class under every arm, mean and deviation over seeds."""
    classes = records.classes
    arms = []
    for place, head in enumerate(records.heads):
        found = [
            run["per_class_accuracy"] for run in records.of(head) if run.get("per_class_accuracy")
        ]
        if found:
            spreads = [
                mean_std([v for v in column if v is not None])
                for column in zip(*found, strict=True)
            ]
            arms.append(
                {
                    "arm": place,
                    "mean": [rounded(middle) for middle, _ in spreads],
                    "std": [rounded(deviation) for _, deviation in spreads],
                }
            )
    if not arms or not classes:
        return None
    many = len(classes) > _MANY_CLASSES
    return Chart(
        name="classes",
        kind="classes",
        title="Accuracy of every class",
        explanation="Means over seeds; within a row, every head keeps a height of its own.",
        summary=(
            f"Dot plot of the test accuracy of {plural(len(classes), 'class')} under "
            f"{plural(len(arms), 'head')}."
        ),
        data={"arms": arms, "images": _images(records)},
        height=44 + min(44, 12 + 6 * len(arms)) * min(len(classes), _MANY_CLASSES),
        legend=True,
        controls=_class_controls(len(classes), many),
    )


def _class_controls(classes: int, many: bool) -> list[Choice]:
    orders = [
        ("given", "as in the data set"),
        ("hard", "hardest first"),
        ("apart", "heads differ most"),
    ]
    if not many:
        return [Choice("order", "Order", orders)]
    shown = [(str(_MANY_CLASSES), f"the first {_MANY_CLASSES}"), ("all", f"all {classes}")]
    return [
        Choice("order", "Order", [orders[2], orders[1], orders[0]]),
        Choice("shown", "Show", shown),
    ]


def _images(records: ComparisonRecords) -> list[int] | None:
    """Test images of every class."""
    for run in records.done:
        counts = dig(run, "geometry", "confusion")
        if counts is not None:
            return [sum(row) for row in counts]
    return None


def collapse(records: ComparisonRecords) -> Chart | None:
    """NC1 to NC3 of the validation images by epoch, of every run that kept them."""
    arms = [_collapse_of(records, head) for head in records.heads]
    if not any(arms):
        return None
    return Chart(
        name="collapse",
        kind="collapse",
        title="Neural collapse by epoch",
        explanation=(
            "On validation features, after every epoch; of their directions for heads that see no "
            "length. Thick lines are means over seeds, thin lines single runs."
        ),
        summary=f"Line chart of neural collapse by epoch. {_ends(records, arms)}",
        data={
            "arms": arms,
            "curves": [
                {
                    "name": one.name,
                    "short": f"{one.short} {one.below or ''}".strip(),
                    "logarithmic": one.logarithmic,
                }
                for one in by_epoch()
            ],
        },
        height=420,
        legend=True,
        controls=[Choice("measure", "Show", [(one.name, _choice(one)) for one in by_epoch()])],
    )


def _collapse_of(records: ComparisonRecords, head: str) -> list[Record]:
    found = []
    for run in records.of(head):
        rows = [row for row in records.histories.get(run["run_id"], ()) if row.get("collapse")]
        if not rows:
            continue
        curve: Record = {"seed": run["seed"], "epochs": [row["epoch"] for row in rows]}
        for one in by_epoch():
            curve[one.name] = [rounded(row["collapse"].get(one.name)) for row in rows]
        found.append(curve)
    return found


def _choice(measure: Measure) -> str:
    return f"{measure.title} (log scale)" if measure.logarithmic else measure.title


def _ends(records: ComparisonRecords, arms: list[list[Record]]) -> str:
    said = []
    for head, runs in zip(records.heads, arms, strict=True):
        values = [run["nc1"][-1] for run in runs if run["nc1"][-1] is not None]
        if values:
            said.append(f"{head} {fixed(mean_std(values)[0], 3)}")
    return f"Mean NC1 at the last epoch: {listing(said)}." if said else ""


def _all_rounded(values: Any) -> list[float | None]:
    return [rounded(value) for value in values]


SMOOTH = 48
"""Pictures of more pixels a side are drawn smoothly, smaller ones pixel by pixel."""


def confusions(records: ComparisonRecords) -> Section | None:
    """A tab per arm; the sheets of pictures lie in the records' folder."""
    panels, names = [], []
    for place, (name, arm) in enumerate(arms_by_name(records).items()):
        run = records.shown(name)
        panel = _panel(place, run, records.classes, records.folder) if run else None
        if panel is not None:
            panels.append(panel)
            names.append(arm_name(place, arm))
    if not panels:
        return None
    intro = paragraph(
        "The pairs of classes that were confused most, worst first: test images of one class that "
        "were taken for the other, and beside them one of the other class that was put right.",
        "small",
    )
    tabbed = tabs("Heads", names, panels, group="pairs-")
    return Section("confused", "Confused classes", join([intro, _chooser(records.classes), tabbed]))


def _chooser(classes: list[str]) -> Markup:
    options: list[tuple[Any, str, bool]] = [("", "all pairs", False)]
    options += [(place, name, False) for place, name in enumerate(classes)]
    return fill("parts", "chooser", "Show pairs with", options, "data-browse", "confused")


def _panel(place: int, run: Record, classes: list[str], folder: Path) -> Markup | None:
    facts = run.get("examples") or {}
    pairs = facts.get("pairs") or _pairs(run)
    if not pairs:
        if dig(run, "geometry", "confusion") is None:
            return None
        return paragraph("No test image of this run was confused.", "missing")
    sheet = _sheet(place, facts, folder)
    cosines = dig(run, "geometry", "class_cosines")
    cards = [_card(place, pair, facts if sheet else {}, classes, cosines) for pair in pairs]
    about = f"{run['head']}, seed {run['seed']}."
    return fill("comparison", "confusions", sheet, about, cards)


def _pairs(run: Record, most: int = 24) -> list[Record]:
    """The same from the confusion counts, for records without pictures."""
    counts = dig(run, "geometry", "confusion") or []
    pairs = [
        {"label": i, "taken_for": j, "count": n, "images": sum(row), "tiles": []}
        for i, row in enumerate(counts)
        for j, n in enumerate(row)
        if n and i != j
    ]
    return sorted(pairs, key=lambda pair: -pair["count"])[:most]


def _sheet(place: int, facts: Record, folder: Path) -> Markup | None:
    path = folder / str(facts.get("file", ""))
    if not facts or not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        return None
    data = base64.b64encode(path.read_bytes()).decode()
    drawn = "auto" if facts["tile"] > SMOOTH else "pixelated"
    return fill("comparison", "sheet", place, data, facts["columns"], _rows(facts), drawn)


def _card(
    place: int, pair: Record, facts: Record, classes: list[str], cosines: list[list[float]] | None
) -> Markup:
    label, other = pair["label"], pair["taken_for"]
    share = percent(pair["count"] / pair["images"], 1)
    figures = f"{count(pair['count'])} of {count(pair['images'])} ({share})"
    if cosines is not None:
        figures += f", cosine {fixed(cosines[label][other])}"
    truth, taken = classes[label], classes[other]
    tiles = [
        _tile(place, facts, at, f"{truth}, taken for {taken}")
        for at in (pair["tiles"] if facts else [])
    ]
    known = facts.get("classes", {}).get(str(other))
    if known is not None:
        tiles.append(_tile(place, facts, known, f"{taken}, put right", " known"))
    return fill("comparison", "confusion", label, other, truth, taken, figures, tiles)


def _tile(place: int, facts: Record, at: int, words: str, kind: str = "") -> Record:
    columns, rows = facts["columns"], _rows(facts)
    row, column = divmod(at, columns)
    across = 100 * column / (columns - 1) if columns > 1 else 0.0
    down = 100 * row / (rows - 1) if rows > 1 else 0.0
    return {
        "words": words,
        "kind": f"tile sheet-{place}{kind}",
        "across": f"{across:.4g}",
        "down": f"{down:.4g}",
    }


def _rows(facts: Record) -> int:
    return -(-int(facts["number"]) // int(facts["columns"]))

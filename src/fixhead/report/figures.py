"""Records → the data that each figure draws, rounded and written once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .figure import Control, Figure
from .numbers import THIN, count, fixed, listing, mean_std, percent, plural
from .records import Record, Records
from .tables import dig

_MEASURES = ("val_accuracy", "val_loss", "train_accuracy", "train_loss")
_MANY_CLASSES = 40


def curves(records: Records) -> Figure | None:
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
    return Figure(
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
            Control(
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


def without_history(records: Records) -> list[str]:
    """The runs whose history is missing."""
    return [run["run_id"] for run in records.runs if run["run_id"] not in records.histories]


def _curves_of(records: Records, head: str) -> list[Record]:
    found = []
    for run in records.runs:
        history = records.histories.get(run["run_id"])
        if run["head"] != head or not history:
            continue
        epochs = [row["epoch"] for row in history]
        curve: Record = {name: _rounded(row.get(name) for row in history) for name in _MEASURES}
        curve |= {
            "seed": run["seed"],
            "done": run["status"] == "done",
            "best": run.get("best_epoch"),
        }
        if epochs != list(range(1, len(epochs) + 1)):
            curve["epochs"] = epochs
        found.append(curve)
    return found


def _last_mean(records: Records, head: str) -> float | None:
    runs = [records.histories.get(run["run_id"], ()) for run in records.of(head)]
    ends = [history[-1].get("val_accuracy") for history in runs if history]
    return mean_std([end for end in ends if end is not None])[0]


def shown_run(records: Records, head: str) -> Record | None:
    """The run whose matrices stand for an arm: the finished one with the lowest seed."""
    runs = [run for run in records.of(head) if dig(run, "geometry")]
    return runs[0] if runs else None


def cosine_matrix(place: int, run: Record) -> Figure | None:
    """cos(w_i, w_j) of one run, in thousandths, the part above the diagonal row by row."""
    matrix = dig(run, "geometry", "class_cosines")
    if matrix is None:
        return None
    size = len(matrix)
    upper = [matrix[i][j] for i in range(size) for j in range(i + 1, size)]
    return Figure(
        name=f"vectors-{place}",
        kind="matrix",
        title="Cosines between class vectors",
        explanation=f"{run['head']}, seed {run['seed']}, after training. One scale for all heads.",
        summary=(
            f"Heat map of the cosines between the {size} class vectors of {run['head']}, from "
            f"{fixed(min(upper))} to {fixed(max(upper))}."
        ),
        data={"arm": place, "size": size, "upper": [round(1000 * value) for value in upper]},
        height=0,
    )


def confusion_by_cosine(place: int, run: Record) -> Figure | None:
    """How often i is taken for j, against cos(w_i, w_j), over the ordered pairs i ≠ j.

    The counts go by row, as flat lists of column, count, column, count …; zeros are left out.
    """
    counts = dig(run, "geometry", "confusion")
    if counts is None or dig(run, "geometry", "class_cosines") is None:
        return None
    rows = [[part for j, n in enumerate(row) if n for part in (j, n)] for row in counts]
    wrong = sum(n for i, row in enumerate(counts) for j, n in enumerate(row) if i != j)
    correlation = spearman_sentence(run)
    return Figure(
        name=f"confusion-{place}",
        kind="confusion",
        title="Confusion against cosine",
        explanation=(
            f"{correlation} Each mark is an ordered pair of classes; the line is the mean of pairs "
            "with a similar cosine."
        ),
        summary=(
            f"Scatter of {plural(wrong, 'test error')} of {run['head']} against the cosine of the "
            f"two class vectors. {correlation}"
        ),
        data={"arm": place, "vectors": f"vectors-{place}", "rows": rows},
        height=0,
    )


def spearman_sentence(run: Record) -> str:
    """Spearman's ρ with its interval, or why there is none."""
    found = dig(run, "geometry", "spearman") or {}
    if found.get("rho") is None:
        reason = found.get("reason")
        return f"Spearman’s ρ is not defined{f': {reason}' if reason else ''}."
    low, high = found.get("low"), found.get("high")
    interval = "" if low is None else f" (95{THIN}% interval {fixed(low)} to {fixed(high)})"
    return f"Spearman’s ρ = {fixed(found['rho'])}{interval} over {count(found['n'])} ordered pairs."


def cosine_histograms(records: Records, field: str) -> Figure | None:
    """Histograms of ``own_cosine`` or ``other_cosine`` per arm, counts summed over seeds."""
    arms, said = [], []
    edges: list[float] = []
    for place, head in enumerate(records.heads):
        found = [part for run in records.of(head) if (part := dig(run, "geometry", field))]
        if not found:
            continue
        edges = edges or found[0]["edges"]
        arms.append(_histogram(place, [part for part in found if part["edges"] == edges]))
        said.append(f"{head} {fixed(arms[-1]['mean'])}")
    if not arms:
        return None
    words = _HISTOGRAMS[field]
    return Figure(
        name=words["name"],
        kind="ridges",
        title=words["title"],
        explanation=words["explanation"],
        summary=f"{words['summary']} Means: {listing(said)}.",
        data={"edges": edges, "arms": arms, "axis": words["axis"], "unit": words["unit"]},
        height=64 + 66 * len(arms),
    )


_HISTOGRAMS = {
    "own_cosine": {
        "name": "compactness",
        "title": "Compactness: features and their own class vector",
        "explanation": (
            "Test images by the cosine between feature and own class vector; further right is more "
            "compact. Every row is drawn to its own tallest bar; the line is the mean "
            "(± std over seeds)."
        ),
        "summary": "Histograms of the cosine between a test feature and its own class vector.",
        "axis": "cosine to the own class vector",
        "unit": "images",
    },
    "other_cosine": {
        "name": "separability",
        "title": "Separability: mean features of different classes",
        "explanation": (
            "Pairs of classes by the cosine between their mean features; further left is more "
            "separate. Every row is drawn to its own tallest bar; the line is the mean "
            "(± std over seeds)."
        ),
        "summary": "Histograms of the cosine between the mean features of two classes.",
        "axis": "cosine between class means",
        "unit": "pairs",
    },
}


def _histogram(place: int, found: Sequence[Record]) -> dict[str, Any]:
    counts = [sum(column) for column in zip(*(part["counts"] for part in found), strict=True)]
    middle, deviation = mean_std([part["mean"] for part in found if part["mean"] is not None])
    return {
        "arm": place,
        "counts": counts,
        "mean": _round(middle),
        "std": _round(deviation),
        "right": _round(mean_std(_there(found, "mean_correct"))[0]),
        "wrong": _round(mean_std(_there(found, "mean_wrong"))[0]),
    }


def class_accuracies(records: Records) -> Figure | None:
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
                    "mean": [_round(middle) for middle, _ in spreads],
                    "std": [_round(deviation) for _, deviation in spreads],
                }
            )
    if not arms or not classes:
        return None
    many = len(classes) > _MANY_CLASSES
    return Figure(
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


def _class_controls(classes: int, many: bool) -> list[Control]:
    orders = [
        ("given", "as in the data set"),
        ("hard", "hardest first"),
        ("apart", "heads differ most"),
    ]
    if not many:
        return [Control("order", "Order", orders)]
    shown = [(str(_MANY_CLASSES), f"the first {_MANY_CLASSES}"), ("all", f"all {classes}")]
    return [
        Control("order", "Order", [orders[2], orders[1], orders[0]]),
        Control("shown", "Show", shown),
    ]


def _images(records: Records) -> list[int] | None:
    """Test images of every class."""
    for run in records.done:
        counts = dig(run, "geometry", "confusion")
        if counts is not None:
            return [sum(row) for row in counts]
    return None


def _there(found: Sequence[Record], name: str) -> list[float]:
    return [part[name] for part in found if part.get(name) is not None]


def _rounded(values: Any) -> list[float | None]:
    return [_round(value) for value in values]


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)

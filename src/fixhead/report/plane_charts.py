"""Features and class vectors in the plane: d = 2 itself, epoch by epoch, and views of more
dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..runs.records import Record
from .numbers import count, fixed, listing, mean_std, percent, plural, rounded
from .page import Chart, Choice, Slider
from .records import ComparisonRecords, EvaluationRecords, dig

_VIEWS = {
    "class-plane": "plane of the class vectors",
    "pca": "PCA of the features",
    "tsne": "t-SNE",
    "umap": "UMAP",
}


def plane(records: ComparisonRecords) -> Chart | None:
    """Where d = 2: vectors, decision areas and validation features after every epoch."""
    runs = [found for head in records.heads for found in _planes_of(records, head)]
    if not runs:
        return None
    words = [(str(at), f"{run['head']}, seed {run['seed']}") for at, run in enumerate(runs)]
    epochs = max((run["epochs"] for run in runs), key=len)
    several = len(epochs) > 1
    points = any(run["points"] for run in runs)
    scattered = "A point is the feature of a validation image. " if points else ""
    return Chart(
        name="plane",
        kind="plane",
        title="Class vectors and areas by epoch",
        explanation=(
            f"{scattered}An arrow is a class vector, the line behind it the path of its tip since "
            "the first epoch. The ring shows which directions of a feature go to which class; "
            "classes missing from it are never chosen."
        ),
        summary=f"Class vectors of two dimensions in {plural(len(runs), 'run')}.",
        data={"runs": runs},
        height=0,
        controls=[
            Choice("run", "Run", words),
            *([Slider("epoch", "Epoch", [str(epoch) for epoch in epochs])] if several else []),
        ],
    )


def areas(records: ComparisonRecords) -> Chart | None:
    """Where d = 2: the share of the circle that every class owns at the end, run by run."""
    rows = []
    for place, head in enumerate(records.heads):
        for run in records.of(head):
            shares = dig(run, "geometry", "areas", "shares")
            if shares is not None:
                rows.append(
                    {"arm": place, "seed": run["seed"], "shares": list(map(rounded, shares))}
                )
    if not rows:
        return None
    return Chart(
        name="areas",
        kind="areas",
        title="The circle shared out",
        explanation=(
            "The share of the circle of directions that each class owns, a row per run. A run "
            "with fewer than all colours has classes without an area."
        ),
        summary=f"Stacked bars of the shares of {plural(len(rows), 'run')}.",
        data={"rows": rows},
        height=70 + 26 * len(rows),
    )


def _planes_of(records: ComparisonRecords, head: str) -> list[Record]:
    found = []
    for run in records.of(head):
        rows = [
            row
            for row in records.histories.get(run["run_id"], ())
            if dig(row, "collapse", "vectors") is not None
        ]
        if rows:
            found.append(_plane_of(run, head, [row["epoch"] for row in rows], rows))
    return found


def _plane_of(run: Record, head: str, epochs: Sequence[int], rows: Sequence[Record]) -> Record:
    """``sectors`` by epoch where the history has them, else those of the chosen epoch alone."""
    steps = [row["collapse"]["vectors"] for row in rows]
    turns = [row["collapse"].get("sectors") for row in rows]
    if all(turn is None for turn in turns):
        chosen = dig(run, "geometry", "areas", "sectors") or []
        turns = [[[one["label"], one["start"], one["stop"]] for one in chosen]]
    return {
        "head": head,
        "seed": run["seed"],
        "epochs": list(epochs),
        "paths": [
            [[rounded(step[place][axis]) for step in steps] for axis in (0, 1)]
            for place in range(len(steps[0]))
        ],
        "sectors": [_rounded(turn or []) for turn in turns],
        "points": [dig(row, "collapse", "points") or [] for row in rows]
        if dig(rows[-1], "collapse", "points")
        else [],
        "labels": dig(rows[-1], "collapse", "labels") or [],
    }


def _rounded(turn: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [[label, rounded(start), rounded(stop)] for label, start, stop in turn]


def vanished_sentences(records: ComparisonRecords) -> list[str]:
    """``guided: 0.3 classes without an area, mean of 3 runs (0, 0 and 1)``, arm by arm."""
    said = []
    for head in records.heads:
        areas = [dig(run, "geometry", "areas") for run in records.of(head)]
        counts = [len(area["vanished"]) for area in areas if dig(area, "vanished") is not None]
        if counts:
            each = listing([str(number) for number in counts])
            middle = fixed(mean_std(counts)[0], 1)
            runs = plural(len(counts), "run")
            said.append(f"{head}: {middle} classes without an area, mean of {runs} ({each}).")
        elif reason := next((dig(area, "reason") for area in areas if area), None):
            said.append(f"{head}: no areas, because {reason}.")
    return said


def projections(records: EvaluationRecords) -> Chart | None:
    """The lowest seed of each head; None where no record holds a view."""
    models = {model["name"]: model for model in records.models if model.get("projections")}
    shown = [records.as_comparison.shown(head) for head in records.heads]
    runs = [_viewed_run(models[run["run_id"]]) for run in shown if run and run["run_id"] in models]
    if not runs:
        return None
    methods = list(dict.fromkeys(view["method"] for run in runs for view in run["views"]))
    images = len(runs[0]["labels"])
    embedded = [_VIEWS[name] for name in methods if name in ("tsne", "umap")]
    warning = (
        f" In {listing(embedded)} only neighbourhoods mean something, not distances."
        if embedded
        else ""
    )
    return Chart(
        name="views",
        kind="views",
        title="Test features and class vectors",
        explanation=(
            f"{count(images)} test images by true class; a cross marks one that was put wrong. "
            f"Arrows are class vectors, drawn as long as the features.{warning}"
        ),
        summary=(
            f"Scatter of test features of {plural(len(runs), 'model')}: "
            f"{listing([_VIEWS[name] for name in methods])}."
        ),
        data={"runs": runs},
        height=0,
        controls=[
            Choice("run", "Model", [(str(at), run["name"]) for at, run in enumerate(runs)]),
            Choice("view", "View", [(name, _VIEWS[name]) for name in methods]),
        ],
    )


def _viewed_run(model: Record) -> Record:
    found = model["projections"]
    wrong = [
        at
        for at, (label, told) in enumerate(zip(found["labels"], found["predictions"], strict=True))
        if label != told
    ]
    return {
        "name": model["name"],
        "labels": found["labels"],
        "wrong": wrong,
        "views": [{**view, "said": _kept(view, found["of"])} for view in found["views"]],
        "sectors": [
            [one["label"], round(one["start"], 4), round(one["stop"], 4)]
            for one in (model.get("areas") or {}).get("sectors") or []
        ],
    }


def _kept(view: Record, of: str) -> str:
    if view.get("kept") is None:
        return f"{of}, cosine distance"
    what = "the squared lengths of the vectors" if view["method"] == "class-plane" else "variance"
    return f"{of}; the plane keeps {percent(view['kept'], 1)} of {what}"

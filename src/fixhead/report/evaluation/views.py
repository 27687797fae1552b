"""Features in two dimensions, with the class vectors: one plane or embedding at a time."""

from __future__ import annotations

from ..figure import Control, Figure, render
from ..geometry_figures import shown_run
from ..numbers import count, listing, percent, plural
from ..records import Record
from ..section import Section
from .record import Evaluated

WORDS = {
    "class-plane": "plane of the class vectors",
    "pca": "PCA of the features",
    "tsne": "t-SNE",
    "umap": "UMAP",
}


def projections(evaluated: Evaluated) -> Section | None:
    """A model of each head, and every view that its record holds."""
    figure = projection_figure(evaluated)
    if figure is None:
        return None
    return Section("views", "Features in the plane", render(figure), [figure])


def projection_figure(evaluated: Evaluated) -> Figure | None:
    """The lowest seed of each head; None where no record holds a view."""
    models = {model["name"]: model for model in evaluated.models if model.get("projections")}
    shown = [shown_run(evaluated.records, head) for head in evaluated.heads]
    runs = [_run(models[run["run_id"]]) for run in shown if run and run["run_id"] in models]
    if not runs:
        return None
    methods = list(dict.fromkeys(view["method"] for run in runs for view in run["views"]))
    images = len(runs[0]["labels"])
    embedded = [WORDS[name] for name in methods if name in ("tsne", "umap")]
    warning = (
        f" In {listing(embedded)} only neighbourhoods mean something, not distances."
        if embedded
        else ""
    )
    return Figure(
        name="views",
        kind="views",
        title="Test features and class vectors",
        explanation=(
            f"{count(images)} test images by true class; a cross marks one that was put wrong. "
            f"Arrows are class vectors, drawn as long as the features.{warning}"
        ),
        summary=(
            f"Scatter of test features of {plural(len(runs), 'model')}: "
            f"{listing([WORDS[name] for name in methods])}."
        ),
        data={"runs": runs},
        height=0,
        controls=[
            Control("run", "Model", [(str(at), run["name"]) for at, run in enumerate(runs)]),
            Control("view", "View", [(name, WORDS[name]) for name in methods]),
        ],
    )


def _run(model: Record) -> Record:
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

"""Figures 2 to 5: cosines between class vectors, confusion against them, features in a plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...runs.records import Record
from ..item import Content, Item, PaperFigure, TrainingCell
from ..recipe import PaperRequest, place
from .recipe import NAME, NOTES, SHOWN_RATE, cosine_cells, dot_cells, grid

_PLANE = (
    "Measured here: 30 test images of each class in the principal plane of their features, with "
    "the class vectors' directions in it; seed 0."
)


def figure2(request: PaperRequest) -> Content:
    """Dot logits: cosines between class vectors, learned and frozen; confusion against cosine."""
    drawings = []
    for data, net in _places(request, "stl10"):
        learned = dot_cells(request, data, net, "non-fixed", SHOWN_RATE)
        fixed = dot_cells(request, data, net, "fixed", SHOWN_RATE)
        drawings += _matrices(
            place(data, net), "Figure 2",
            {"non-fixed, dot": learned, "fixed, dot": fixed},
            "STL-10: vehicles lie near each other, animals too; frozen vectors are far apart. The "
            "more similar two vectors, the more often their classes are confused (ρ = 0.82).",
        )  # fmt: skip
    return _content(request, drawings)


def figure3(request: PaperRequest) -> Content:
    """Dot logits: features of learned and frozen vectors."""
    drawings = []
    for data, net in _places(request, "cifar10"):
        arms = {
            arm: dot_cells(request, data, net, arm, SHOWN_RATE, ("embedding",))
            for arm in ("non-fixed", "fixed")
        }
        drawings.append(
            _embedding(place(data, net), "Figure 3", arms,
                       "CIFAR-10: classes lie further apart with frozen vectors; by which "
                       "projection is not said.")
        )  # fmt: skip
    return _content(request, drawings)


def figure4(request: PaperRequest) -> Content:
    """Cosine logits, learned: cosines between class vectors at S = 1 and 20."""
    drawings = []
    for data, net in _places(request, "stl10"):
        arms = {
            f"non-fixed, S = {s}": cosine_cells(request, data, net, "non-fixed", s) for s in (1, 20)
        }
        drawings += _matrices(
            place(data, net), "Figure 4", arms,
            "STL-10: at S = 1 vectors of similar classes lie close together, at S = 20 further "
            "apart (ρ = 0.85 at S = 1).",
        )  # fmt: skip
    return _content(request, drawings)


def figure5(request: PaperRequest) -> Content:
    """Cosine logits: features of frozen vectors at S = 1, of learned ones at S = 1 and 20."""
    drawings = []
    for data, net in _places(request, "cifar10"):
        arms = {
            f"{arm}, S = {s}": cosine_cells(request, data, net, arm, s, ("embedding",))
            for arm, s in (("fixed", 1), ("non-fixed", 1), ("non-fixed", 20))
        }
        drawings.append(
            _embedding(place(data, net), "Figure 5", arms,
                       "CIFAR-10, ResNet-18: frozen vectors give compact, separate classes; a "
                       "large S spreads them.")
        )  # fmt: skip
    return _content(request, drawings)


def _places(request: PaperRequest, data: str) -> list[tuple[str, str]]:
    return grid(request) if request.scale == "small" else [(data, "resnet18")]


def _matrices(
    where: str, name: str, arms: Mapping[str, Sequence[TrainingCell]], printed: str
) -> list[PaperFigure]:
    first = {arm: cells[0] for arm, cells in arms.items()}
    learned = next(iter(arms.values()))

    def matrices(records: Mapping[str, Record]) -> dict[str, Any] | None:
        panels = [
            {"title": arm, "values": records[cell.name]["geometry"]["class_cosines"]}
            for arm, cell in first.items()
            if cell.name in records
        ]
        if not panels:
            return None
        return {"panels": panels, "classes": next(iter(records.values()))["classes"]}

    def scatter(records: Mapping[str, Record]) -> dict[str, Any] | None:
        series = [_pairs(row) for row in records.values()]
        if not series:
            return None
        return {"series": series, "x": "cosine of the two class vectors", "y": "misclassified"}

    return [
        PaperFigure(
            "matrix",
            f"{name}, {where}: cosines between class vectors",
            "Measured here, after training; seed 0.",
            printed,
            tuple(first.values()),
            matrices,
        ),
        PaperFigure(
            "points",
            f"{name}, {where}: confusion against cosine, {next(iter(arms))}",
            "Measured here: a point for every ordered pair of classes on the test set, a colour "
            "for every seed.",
            printed,
            tuple(learned),
            scatter,
        ),
    ]


def _pairs(row: Record) -> dict[str, Any]:
    cosines, confusion = row["geometry"]["class_cosines"], row["geometry"]["confusion"]
    K = len(cosines)
    pairs = [(i, j) for i in range(K) for j in range(K) if i != j]
    rho = row["geometry"]["spearman"]["rho"]
    said = "–" if rho is None else f"{rho:.2f}"
    return {
        "name": f"seed {row['seed']}, ρ = {said}",
        "x": [cosines[i][j] for i, j in pairs],
        "y": [confusion[i][j] for i, j in pairs],
    }


def _embedding(
    where: str, name: str, arms: Mapping[str, Sequence[TrainingCell]], printed: str
) -> PaperFigure:
    first = {arm: cells[0] for arm, cells in arms.items()}

    def draw(records: Mapping[str, Record]) -> dict[str, Any] | None:
        panels = []
        for arm, cell in first.items():
            row = records.get(cell.name)
            if row is not None and "embedding" in row["measures"]:
                shown = row["measures"]["embedding"]
                title = f"{arm}: the plane keeps {100 * shown['kept']:.0f} % of the variance"
                panels.append({"title": title, **shown})
        if not panels:
            return None
        return {"panels": panels, "classes": next(iter(records.values()))["classes"]}

    title = f"{name}, {where}: features in a plane"
    return PaperFigure("plane", title, _PLANE, printed, tuple(first.values()), draw)


def _content(request: PaperRequest, drawings: Sequence[PaperFigure]) -> Content:
    return Content(figures=drawings, notes=NOTES)


ITEMS = (
    Item(NAME, "figure2", "Class vectors and confusion, dot logits", figure2),
    Item(NAME, "figure3", "Features, dot logits", figure3),
    Item(NAME, "figure4", "Class vectors and confusion, cosine logits", figure4),
    Item(NAME, "figure5", "Features, cosine logits", figure5),
)

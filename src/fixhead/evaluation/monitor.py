"""Neural collapse epoch by epoch, on the features that the validation pass computes anyway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import measures
from ..geometry.statistics import ClassStatistics, update_
from ..logits import unit
from .outputs import HeadLike, plain
from .projections import sector_bounds

MAX_CLASSES = 2_000
"""Above so many classes the pairs of class means would cost more than an epoch's end may."""


MAX_POINTS = 400
"""So many features of two dimensions are kept of an epoch."""


class CollapseMonitor:
    """NC1 to NC3 against the head's own vectors as they are now; and where D = 2 the pictures.

    ``of`` says whether of features or, for heads that see no length, of their directions. For
    D = 2: the vectors, their sectors, and some of the features with their labels, the same images
    after every epoch where the pass keeps its order.
    """

    def __init__(self, head: HeadLike, classes: int) -> None:
        vectors = head.vectors
        self._head = head
        self._directions = head.logit_kind != "dot"
        self._seen = False
        self._statistics = ClassStatistics.empty(classes, vectors.shape[1], device=vectors.device)
        self._plane: list[tuple[Tensor, Tensor]] | None = [] if vectors.shape[1] == 2 else None

    @torch.no_grad()
    def add(self, points: Tensor, labels: Tensor) -> None:
        self._seen = True
        update_(self._statistics, unit(points) if self._directions else points, labels)
        if self._plane is not None:
            self._plane.append((points, labels))

    @torch.no_grad()
    def finish(self) -> dict[str, Any]:
        stats, W = self._statistics, self._head.vectors.detach()
        row: dict[str, Any] = {"of": "directions" if self._directions else "features"}
        if self._seen:
            inputs = {"statistics": stats, "vectors": W}
            values = measures.computed(measures.by_epoch(), inputs)
            row |= {name: plain(value) for name, value in values.items()}
        if self._plane is not None:
            row["vectors"] = plain(W.double().cpu())
            row["sectors"] = sector_bounds(
                W, self._head.logit_kind, bias=self._head.bias is not None
            )
            row |= sample(self._plane)
        return row


def sample(parts: Sequence[tuple[Tensor, Tensor]], most: int = MAX_POINTS) -> dict[str, Any]:
    """``points`` and ``labels`` of at most ``most`` images, evenly spaced over a pass in parts."""
    if not parts:
        return {}
    points, labels = (torch.cat(side).cpu() for side in zip(*parts, strict=True))
    step = -(-len(labels) // most)
    rows = points[::step].tolist()
    return {
        "points": [[float(f"{value:.4g}") for value in row] for row in rows],
        "labels": labels[::step].tolist(),
    }

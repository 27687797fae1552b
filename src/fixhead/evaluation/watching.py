"""Neural collapse epoch by epoch, on the features that the validation pass computes anyway."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..geometry import duality, equiangular, variability
from ..geometry.statistics import ClassStatistics, absorb_
from ..logits import unit
from .evaluate import Head
from .plain import plain

MOST_CLASSES = 2_000
"""Above so many classes the pairs of class means would cost more than an epoch's end may."""


class CollapseWatch:
    """NC1 to NC3 against the head's own vectors as they are now; and where D = 2 the vectors.

    ``of`` says whether of features or, for heads that see no length, of their directions.
    """

    def __init__(self, head: Head, classes: int) -> None:
        vectors = head.vectors
        self._head = head
        self._directions = head.logits != "dot"
        self._seen = False
        self._statistics = ClassStatistics.empty(classes, vectors.shape[1], device=vectors.device)

    @torch.no_grad()
    def add(self, points: Tensor, labels: Tensor) -> None:
        self._seen = True
        absorb_(self._statistics, unit(points) if self._directions else points, labels)

    @torch.no_grad()
    def finish(self) -> dict[str, Any]:
        stats, W = self._statistics, self._head.vectors.detach()
        found: dict[str, Any] = {"of": "directions" if self._directions else "features"}
        if self._seen:
            values = {
                "nc1": variability.nc1(stats),
                "equinorm": equiangular.equinorm(stats),
                "equiangularity_deviation": equiangular.equiangularity(stats).deviation,
                "alignment": duality.alignment(stats, W),
                "self_duality": duality.self_duality(stats, W),
            }
            found |= {name: plain(value) for name, value in values.items()}
        if W.shape[1] == 2:
            found["vectors"] = plain(W.double().cpu())
        return found

"""Neural collapse 4 in two passes, and with the means of the epoch before in one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..geometry import nearest
from ..geometry.seen import seen_classes
from ..geometry.statistics import ClassStatistics, absorb_
from ..logits import unit
from ._states import ExactMetric, Per, checked_per, keep_statistics


class NearestMeanAgreement(ExactMetric):
    """NC4, exactly: the head's decisions against the nearest of the *final* class means.

    The second of two passes. The first one takes the means:

        statistics = first.gathered()    # of any ClassStatisticsMetric; or class_statistics()
        metric = NearestMeanAgreement(statistics)
        metric.update(features, head(features), labels)    # batch by batch

    Args:
        statistics: of all features; of unit rows if ``directions``.
        directions: compare x/‖x‖, as a cosine head does.
        per: ``"all"``, ``"class"``, or each class's group (K,); by true class, images pooled.
    """

    higher_is_better = True

    counts: Tensor
    means: Tensor
    owners: Tensor

    def __init__(
        self,
        statistics: ClassStatistics,
        *,
        directions: bool = False,
        per: Per = "all",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        seen = seen_classes(statistics)
        self.classes = statistics.classes
        self.directions = directions
        self.per = checked_per("NearestMeanAgreement", per, self.classes)
        self.register_buffer("means", seen.means.to(statistics.packed.dtype), persistent=False)
        self.register_buffer("owners", seen.labels, persistent=False)
        counts = torch.zeros(2, self.classes, dtype=torch.int64)
        self.add_state("counts", counts, dist_reduce_fx="sum")

    def update(self, features: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Compare decisions by the head's own logits (N, K) with the nearest means of features."""
        rows = unit(features) if self.directions else features
        found = self.owners[nearest.nearest_rows(rows, self.means, self.means.mean(dim=0))]
        self.counts += nearest.agreement_counts(logits, found, labels, self.classes)

    def compute(self) -> Tensor:
        return agreement_per(self.counts, self.per)


class PreviousEpochAgreement(ExactMetric):
    """NC4 in one pass, against the class means of the epoch *before*; NaN in the first epoch.

    Not the exact value: means and features move between the two epochs. At an epoch's end call

        value = metric.compute()
        metric.next_epoch()          # its means become the reference, its counts are cleared

    ``reset`` clears the epoch at hand and keeps the reference. The arguments are those of
    ``ClassStatisticsMetric``.
    """

    higher_is_better = True

    packed: Tensor
    counts: Tensor
    reference: Tensor
    origin: Tensor

    def __init__(
        self,
        classes: int,
        features: int,
        *,
        directions: bool = False,
        per: Per = "all",
        dtype: torch.dtype = torch.float64,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.classes = classes
        self.directions = directions
        self.per = checked_per("PreviousEpochAgreement", per, classes)
        empty = ClassStatistics.empty(classes, features, pooled=False, dtype=dtype)
        self._form = keep_statistics(self, empty)
        counts = torch.zeros(2, classes, dtype=torch.int64)
        self.add_state("counts", counts, dist_reduce_fx="sum")
        unknown = torch.full((classes, features), torch.nan, dtype=dtype)
        self.register_buffer("reference", unknown)
        self.register_buffer("origin", unknown[0].clone())

    def update(self, features: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Compare with the reference, and absorb features (N, d) for the next one."""
        rows = unit(features) if self.directions else features
        absorb_(self._form.like(self.packed), rows, labels)
        found = nearest.nearest_rows(rows, self.reference, self.origin)
        counts = nearest.agreement_counts(logits, found, labels, self.classes)
        self.counts += counts * ~self.origin.isnan().any()

    def compute(self) -> Tensor:
        return agreement_per(self.counts, self.per)

    def next_epoch(self) -> None:
        """Make the means of the epoch at hand, of all processes, the reference, and reset.

        A class without a feature in this epoch has no reference in the next.
        """
        with self.sync_context(should_sync=self.sync_on_compute):
            stats = self._form.like(self.packed).wide()
            seen = (stats.counts > 0).unsqueeze(1)
            reference = torch.where(seen, stats.means, torch.nan)
        self.reference = reference.to(self.reference)
        self.origin = self.reference.nanmean(dim=0)
        self.reset()


def agreement_per(counts: Tensor, per: Per) -> Tensor:
    """The share of images that agree: of all, of each class, or of each group's images."""
    if isinstance(per, Tensor):
        groups = per.to(counts.device).long()
        pooled = counts.new_zeros(2, int(groups.max()) + 1).index_add_(1, groups, counts)
        return nearest.class_agreements(pooled)
    return nearest.agreement(counts) if per == "all" else nearest.class_agreements(counts)

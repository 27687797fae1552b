"""What the twins keep: class statistics in one tensor, merged by the function that merges them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import Module
from torchmetrics import Metric

from .._errors import RequestError
from ..geometry.accuracy import by_group
from ..geometry.statistics import ClassStatistics, merge, update_
from ..logits import unit
from ..measures import MEASURES

Per = Literal["all", "class"] | Tensor
"""One value for all; one per class (K,); or one per group, given each class's group (K,)."""

Vectors = Tensor | Callable[[], Tensor]
"""Class vectors (K, d), or a function that returns them as they are now (learned ones move)."""


@dataclass(frozen=True)
class MergePacked:
    """The declared reducer: packed statistics of several processes (P, L) → of all of them (L,)."""

    form: ClassStatistics

    def __call__(self, stacked: Tensor) -> Tensor:
        return reduce(merge, [self.form.like(packed) for packed in stacked]).packed


class ExactMetric(Metric):
    """A metric that follows its model to another device, and never to a narrower type.

    torchmetrics guards ``.half()`` and its like, but ``model.to(torch.bfloat16)`` would round
    the sums of a metric inside.
    """

    full_state_update = False
    is_differentiable = False

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Module:
        def moved(values: Tensor) -> Tensor:
            return values.to(fn(values.new_empty(0)).device)

        return super()._apply(fn if self._dtype_convert else moved, exclude_state)


class TableMetric(ExactMetric):
    """The twin of an entry of ``fixhead.measures``: subclasses name it, and what it is made from.

    ``each`` names the entry whose values by class belong to it, where that is another one.
    """

    measure: ClassVar[str]
    each: ClassVar[str | None] = None

    per: Per

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if hasattr(cls, "measure"):
            cls.higher_is_better = MEASURES[cls.measure].higher_is_better

    def compute(self) -> Tensor:
        inputs, options = self.inputs(), self.options()
        whole, each = MEASURES[self.measure].whole, MEASURES[self.each or self.measure].each
        assert whole is not None
        if each is None:
            only: Tensor = whole(inputs, **options)
            return only
        return averaged(lambda: whole(inputs, **options), lambda: each(inputs, **options), self.per)

    def inputs(self) -> dict[str, Any]:
        """What the measure is computed from, by the names of the table."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """Keyword arguments of the function."""
        return {}


class ClassStatisticsMetric(ExactMetric):
    """A metric over ``ClassStatistics`` of features (N, d) by label.

    Args:
        classes: K.
        features: d.
        pooled: keep the (d, d) scatter too; metrics with one setting share their state in a
            ``torchmetrics.MetricCollection``.
        directions: use x/‖x‖ in place of x, as a cosine head does.
        per: ``"all"``, ``"class"``, or each class's group (K,) counted from 0.
        dtype: float64; float32 for devices that have no float64.
    """

    packed: Tensor

    def __init__(
        self,
        classes: int,
        features: int,
        *,
        pooled: bool = False,
        directions: bool = False,
        per: Per = "all",
        dtype: torch.dtype = torch.float64,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.directions = directions
        self.per = checked_per(type(self).__name__, per, classes)
        empty = ClassStatistics.empty(classes, features, pooled=pooled, dtype=dtype)
        self._form = keep_statistics(self, empty)

    @property
    def statistics(self) -> ClassStatistics:
        """What was absorbed so far, in this process (of all processes, inside ``compute``)."""
        return self._form.like(self.packed)

    def gathered(self) -> ClassStatistics:
        """What all processes absorbed together, e.g. the means for a second pass.

        Where torch.distributed is on, every process has to call it.
        """
        with self.sync_context(should_sync=self.sync_on_compute):
            return self._form.like(self.packed.clone())

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add features (N, d) with labels (N,)."""
        update_(self.statistics, unit(features) if self.directions else features, labels)


def keep_statistics(metric: Metric, empty: ClassStatistics) -> ClassStatistics:
    """Add the state ``packed`` to a metric; its form, without the numbers, to read it with."""
    form = empty.like(empty.packed.new_empty(0))
    metric.add_state("packed", empty.packed, dist_reduce_fx=MergePacked(form))
    return form


class KeptVectors(nn.Module):
    """Class vectors of a metric: a tensor follows it to its device, a function is asked anew."""

    fixed: Tensor | None

    def __init__(self, vectors: Vectors) -> None:
        super().__init__()
        fixed = vectors.detach() if isinstance(vectors, Tensor) else None
        self.register_buffer("fixed", fixed, persistent=False)
        self._ask = None if isinstance(vectors, Tensor) else vectors

    def forward(self) -> Tensor:
        if self._ask is not None:
            return self._ask().detach()
        assert self.fixed is not None
        return self.fixed


def checked_per(caller: str, per: Per, classes: int) -> Per:
    """``per`` as it was given, if it is one of the three forms."""
    if isinstance(per, Tensor):
        if tuple(per.shape) != (classes,) or per.is_floating_point() or int(per.min()) < 0:
            raise RequestError(
                f"{caller} needs per= as integer groups ({classes},) counted from 0, one for "
                f"each class, got {per.dtype} {tuple(per.shape)}"
            )
    elif per not in ("all", "class"):
        raise RequestError(f"{caller} needs per='all', 'class' or a tensor of groups, got {per!r}")
    return per


def pooled_groups(per: Per, classes: int) -> Tensor | None:
    """``per`` as the functions that pool images take it: None, every class its own, or groups."""
    if isinstance(per, Tensor):
        return per
    return None if per == "all" else torch.arange(classes)


def averaged(whole: Callable[[], Tensor], each: Callable[[], Tensor], per: Per) -> Tensor:
    """``whole`` for all; ``each`` (K,) per class; its mean over each group's classes (G,)."""
    if isinstance(per, Tensor):
        return by_group(each(), per)
    return whole() if per == "all" else each()

"""A cell: one independent run, known by everything that its outcome depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

from ..comparison import Comparison
from ..comparison.config import RunPlan
from ..comparison.setting import Setting
from ..runs.records import Record, dumps
from .recipe import PaperRecipe

LoadSetting = Callable[[Comparison], Setting]
Compute = Callable[..., Record]


@dataclass(frozen=True)
class TrainingCell:
    """One head, one seed, one recipe on the engine; then ``measures`` of the trained model.

    Two items that need the same cell share its run; measures do not make another cell.
    """

    recipe: PaperRecipe
    head: str
    seed: int
    measures: tuple[str, ...] = ()

    @cached_property
    def comparison(self) -> Comparison:
        return self.recipe.comparison(self.head, self.seed)

    @cached_property
    def name(self) -> str:
        """Readable, and unique by the full configuration (but for where the data lie)."""
        chosen = self.comparison
        digest = replace(chosen, data_dir=None, device="auto").digest[:10]
        plan = RunPlan(self.head, self.seed, chosen.recipe)
        return f"{_safe(chosen.data)}-{_safe(chosen.backbone)}-{plan.run_id}-{digest}"


@dataclass(frozen=True)
class ComputedCell:
    """A free-form computation: ``compute(load, seed, **arguments)`` gives the record's ``found``.

    For theory (free features, no data) and for facts of data sets. ``compute`` is a function of a
    module: its name is part of the cell's. ``load`` opens a comparison's data where it needs any.
    """

    compute: Compute
    arguments: tuple[tuple[str, Any], ...] = ()
    seed: int = 0

    @property
    def measures(self) -> tuple[str, ...]:
        return ()

    @cached_property
    def name(self) -> str:
        facts = [self.compute.__module__, self.compute.__name__, dict(self.arguments)]
        digest = hashlib.sha256(dumps(facts).encode()).hexdigest()[:10]
        return f"{_safe(self.compute.__name__)}-seed{self.seed}-{digest}"


class Cell(Protocol):
    """What a plan is made of."""

    @property
    def name(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def measures(self) -> tuple[str, ...]: ...


def _safe(text: str) -> str:
    return "".join(char if char.isalnum() or char in "-." else "_" for char in text)

"""A paper's training as a frozen dataclass that says of every field where it comes from."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

from ..backbones import NeckName
from ..comparison import Comparison
from ..comparison.config import Choose, Initial
from ..training import Recipe
from ..training.recipe import Optimizer, Precision, ScheduleName

T = TypeVar("T")
OURS = "our choice"


def paper(value: T) -> T:
    """A field's value that the paper states."""
    return _field(value, "paper")


def code(value: T) -> T:
    """A field's value that only the authors' released code states."""
    return _field(value, "code")


def ours(value: T) -> T:
    """A field's value that we chose, because neither states it or because it suits a CPU."""
    return _field(value, OURS)


def _field(value: T, source: str) -> T:
    made: T = field(default=value, metadata={"source": source})
    return made


@dataclass(frozen=True)
class PaperRecipe:
    """Data, network and training of one arm; a paper's subclass gives its own values and sources.

    The fields are those of ``Comparison`` and of ``Recipe``, one to one.
    """

    data: str = ours("digits")
    image_size: int | None = ours(None)
    train_images: int | None = ours(None)
    imbalance: str | None = ours(None)
    backbone: str = ours("small-cnn")
    features: int | None = ours(None)
    neck: NeckName = ours("none")
    initial: Initial = ours("own")
    augmentation: str = ours("auto")
    choose: Choose = ours("validation")
    epochs: int = ours(20)
    batch_size: int = ours(64)
    optimizer: Optimizer = ours("sgd")
    lr: float = ours(0.1)
    momentum: float = ours(0.9)
    nesterov: bool = ours(True)
    weight_decay: float = ours(5e-4)
    schedule: ScheduleName = ours("cosine")
    warmup_epochs: float = ours(0.0)
    milestones: tuple[int, ...] = ours(())
    gamma: float = ours(0.1)
    plateau_patience: int = ours(3)
    plateau_factor: float = ours(0.2)
    precision: Precision = ours("32-true")
    compile: bool = ours(False)

    def comparison(self, head: str, seed: int) -> Comparison:
        """One arm and one seed, for the engine of ``fixhead compare``."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        known = {one.name for one in fields(Recipe)}
        recipe = {name: values.pop(name) for name in list(values) if name in known}
        arm = {"heads": [head], "seeds": 1, "first_seed": seed, "recipe": recipe}
        return Comparison.from_dict(values | arm)

    def described(self) -> dict[str, dict[str, Any]]:
        """Every field's value and source; a value that is not the class's own is our choice."""
        found = {}
        for one in fields(self):
            value = getattr(self, one.name)
            own = one.default is not MISSING and value == one.default
            source = one.metadata.get("source", OURS) if own else OURS
            shown = list(value) if isinstance(value, tuple) else value
            found[one.name] = {"value": shown, "source": source}
        return found

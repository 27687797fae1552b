"""A paper's training as a frozen dataclass that says of every field where it comes from."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

from ..comparison.config import Comparison, Task
from ..training.recipe import Recipe

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
class PaperRecipe(Recipe, Task):
    """Data, network and training of one arm, in one flat dataclass.

    A paper's subclass states every value that it sets, with ``paper``, ``code`` or ``ours``; the
    rest are the defaults of ``fixhead compare``, which are our choice too.
    """

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

"""``evaluation.json``, read, and seen as a comparison's records are: arms, each of some models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..numbers import mean_std
from ..records import Record, Records, dig, read_json

FILE = "evaluation.json"
SCHEMA = "fixhead.evaluation/1"


@dataclass(frozen=True)
class Evaluated:
    """The record, and the folder that it lies in (for the examples beside it)."""

    found: Record
    folder: Path

    @cached_property
    def models(self) -> list[Record]:
        return list(self.found["models"])

    @cached_property
    def heads(self) -> list[str]:
        """The arms in their order: every head once."""
        return list(dict.fromkeys(_head(model) for model in self.models))

    @property
    def classes(self) -> list[str]:
        return list(self.found["classes"])

    def of(self, head: str) -> list[Record]:
        """The models of an arm."""
        return [model for model in self.models if _head(model) == head]

    def spread(self, head: str, *path: str) -> tuple[float | None, float | None]:
        """Mean and standard deviation of a figure over the models of an arm."""
        found = [dig(model, *path) for model in self.of(head)]
        return mean_std([value for value in found if value is not None])

    @cached_property
    def records(self) -> Records:
        """The same in a comparison's form, for the figures that both pages draw."""
        return Records(
            name=self.folder.resolve().name,
            config={},
            results={
                "data": self.found["data"],
                "backbone": self.models[0].get("backbone"),
                "arms": [{"head": head} for head in self.heads],
                "pairs": [],
            },
            runs=tuple(_runs(self.models, self.classes)),
            folder=self.folder,
        )


def read_evaluation(directory: Path) -> Evaluated:
    """Read ``directory/evaluation.json``.

    Raises:
        RequestError: it is missing, cannot be read, or is of another schema.
    """
    found = read_json(directory / FILE, SCHEMA, writer="fixhead evaluate")
    return Evaluated(found, directory)


def _head(model: Record) -> str:
    return str(model.get("head") or model["name"])


def _runs(models: Sequence[Record], classes: Sequence[str]) -> list[Record]:
    return [
        {
            "run_id": model["name"],
            "head": _head(model),
            "head_sentence": model.get("head_sentence"),
            "seed": place if model.get("seed") is None else model["seed"],
            "status": "done",
            "classes": list(classes),
            "per_class_accuracy": model["per_class_accuracy"],
            "geometry": {**model["geometry"], "areas": model.get("areas")},
            "examples": model.get("examples"),
        }
        for place, model in enumerate(models)
    ]

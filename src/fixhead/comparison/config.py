"""What a comparison is: everything that a result can depend on, and nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from .._errors import RequestError
from ..backbones import NeckName
from ..data import parse_long_tail
from ..heads import parse_head
from ..runs.records import dumps
from ..training import Recipe

Choose = Literal["validation", "last", "test"]
Initial = Literal["own", "xavier"]

DEFAULT_HEADS = (
    "learned-dot",
    "random-dot",
    "learned-cosine@1",
    "random-cosine@1",
    "simplex",
    "hadamard",
)


@dataclass(frozen=True)
class Comparison:
    """Arms × seeds on one data set with one backbone and one recipe.

    Args:
        data: the name of a data set, or the path of a folder.
        imbalance: a long tail cut from the training images, ``"exp:0.01"``, … or None; drawn once
            (``fixhead.data.thin`` with seed 0), so that every seed sees the same images.
        heads: the arms, by preset (``fixhead.heads.PRESETS``).
        seeds: how many paired runs of each arm; they are numbered first_seed, first_seed + 1, ….
        features: d; a linear neck maps the backbone's features to it. None keeps the backbone's.
        neck: ``"none"``, ``"linear"`` or ``"batchnorm"``.
        augmentation: ``"auto"`` (the data set's own), or words: ``"none"``, ``"crop:4,flip"``, …
        train_images: about so many training images, the same share of every class, drawn once as
            long tails are; None for all.
        choose: what chooses the epoch: ``"validation"``, a tenth of the training images;
            ``"last"``, nothing: all images are trained on and the last epoch counts; ``"test"``,
            the test set, as papers did whose figures are to be held against ours.
        initial: the backbone's first weights: its ``"own"``, or ``"xavier"``.
        tune: learning rates that every arm searches on validation with seed 0; empty for none.
        recipe: the training, the same for every arm (but for the learning rate when tuned).
    """

    data: str = "digits"
    data_dir: str | None = None
    image_size: int | None = None
    imbalance: str | None = None
    backbone: str = "small-cnn"
    features: int | None = None
    neck: NeckName = "none"
    pretrained: bool = False
    heads: tuple[str, ...] = DEFAULT_HEADS
    seeds: int = 3
    first_seed: int = 0
    augmentation: str = "auto"
    train_images: int | None = None
    choose: Choose = "validation"
    initial: Initial = "own"
    tune: tuple[float, ...] = ()
    device: str = "auto"
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise RequestError(f"seeds must be 1 or more, got {self.seeds}")
        if not 0 <= self.first_seed < 2**31:
            raise RequestError(f"a seed must be between 0 and 2**31 - 1, got {self.first_seed}")
        if not self.heads:
            raise RequestError("heads must name at least one head, got none")
        for head in self.heads:
            parse_head(head)
        if self.imbalance is not None:
            parse_long_tail(self.imbalance)
        for name, kind in (("choose", Choose), ("initial", Initial)):
            if getattr(self, name) not in get_args(kind):
                raise RequestError(
                    f"{name} must be one of {', '.join(get_args(kind))}, "
                    f"got {getattr(self, name)!r}"
                )
        if self.train_images is not None and self.train_images < 1:
            raise RequestError(f"train_images must be 1 or more, got {self.train_images}")
        double = sorted({head for head in self.heads if self.heads.count(head) > 1})
        if double:
            raise RequestError(f"heads must be different from one another, got {double[0]} twice")
        if self.tune and self.choose != "validation":
            raise RequestError(f"tune needs choose='validation', got choose={self.choose!r}")
        if any(not rate > 0 for rate in self.tune):
            raise RequestError(f"tune must hold learning rates above 0, got {list(self.tune)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, as config.json keeps them; a data path is kept as it was given."""
        return asdict(self) | {"heads": list(self.heads), "tune": list(self.tune)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Comparison:
        """The inverse of to_dict; unknown names are refused."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise RequestError(f"the configuration has no option {unknown[0]!r}; known: {known}")
        plain = dict(values)
        plain["recipe"] = Recipe.from_dict(plain.get("recipe", {}))
        plain["heads"] = tuple(plain.get("heads", DEFAULT_HEADS))
        plain["tune"] = tuple(plain.get("tune", ()))
        return cls(**plain)

    @property
    def digest(self) -> str:
        """SHA-256 over all of it: two folders with one digest hold the same comparison."""
        facts = self.to_dict()
        if self.data_dir is not None:
            facts["data_dir"] = str(Path(self.data_dir).resolve())
        if self.imbalance is None:
            del facts["imbalance"]  # folders begun before there was such an option go on
        elif self.imbalance.startswith("counts:"):
            facts["imbalance"] = ["counts", _content(Path(self.imbalance.partition(":")[2]))]
        for name, default in (
            ("first_seed", 0),
            ("train_images", None),
            ("choose", "validation"),
            ("initial", "own"),
        ):
            if facts[name] == default:
                del facts[name]
        return hashlib.sha256(dumps(facts).encode()).hexdigest()


def _content(path: Path) -> str:
    """The counts themselves: they make the comparison, wherever their file lies."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"imbalance counts:{path} cannot be read ({error})") from error


@dataclass(frozen=True)
class RunPlan:
    """One training run of a comparison."""

    head: str
    seed: int
    recipe: Recipe

    @property
    def run_id(self) -> str:
        """Readable and safe as a folder's name; unique within a comparison."""
        safe = "".join(char if char.isalnum() or char in "-.@" else "_" for char in self.head)
        if safe != self.head:  # two heads may differ in what was replaced
            safe = f"{safe[:60]}-{hashlib.sha256(self.head.encode()).hexdigest()[:6]}"
        return f"{safe}-seed{self.seed}"


@dataclass(frozen=True)
class TuningPlan(RunPlan):
    """A run that only chooses a learning rate; it never sees the test set."""

    @property
    def run_id(self) -> str:
        return f"{super().run_id}-lr{self.recipe.lr:g}"


def plan_runs(comparison: Comparison, rates: dict[str, float] | None = None) -> list[RunPlan]:
    """Every run, seed by seed, so that a comparison stopped half-way is still balanced.

    ``rates`` holds the tuned learning rate of each head.
    """
    rates = rates or {}
    return [
        RunPlan(head, seed, replace(comparison.recipe, lr=rates.get(head, comparison.recipe.lr)))
        for seed in range(comparison.first_seed, comparison.first_seed + comparison.seeds)
        for head in comparison.heads
    ]


def plan_tuning(comparison: Comparison) -> list[TuningPlan]:
    """The same grid for every head, with seed 0."""
    return [
        TuningPlan(head, 0, replace(comparison.recipe, lr=rate))
        for head in comparison.heads
        for rate in comparison.tune
    ]

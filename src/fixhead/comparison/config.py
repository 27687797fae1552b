"""What a comparison is: everything that a result can depend on, and nothing else.

Imports no torch before a comparison is made, and little else, so that the command line can take its
defaults and its help from here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .._errors import RequestError
from ..data.reading import Reading, read_long_tail, read_text
from ..runs.layout import MODEL_FACTS_FILE, RUNS_FILE, TUNING_FILE
from ..training.recipe import Recipe, as_first_recorded, option, refuse_other_values

if TYPE_CHECKING:
    from ..backbones.backbone import NeckName

Choose = Literal["validation", "last", "test"]
Initial = Literal["own", "xavier"]
Sampling = Literal["each", "class-balanced", "square-root"]

DEFAULT_HEADS = (
    "learned-dot",
    "learned-cosine@auto",
    "auto",
    "simplex",
    "learned-cosine@1",
    "random-cosine@1",
)


@dataclass(frozen=True)
class Task:
    """What is trained on what, besides the head and the recipe."""

    data: str = option(
        "digits", "Train on this data set, a name or the path of images or features."
    )
    image_size: int | None = option(None, "Resize the images to this many pixels.")
    imbalance: str | None = option(
        None,
        "Cut a long tail from the training images, the same for every seed: exp:0.01, step:0.1, "
        "geometric:0.5 or counts:FILE.",
        late=True,
    )
    image_column: str | None = option(
        None, "Take the images from this column of tables.", late=True
    )
    label_column: str | None = option(
        None, "Take the labels from this column of tables.", late=True
    )
    train_part: str | None = option(
        None,
        "Train on this part: a folder, a split, or the beginning of file names; '.' reads all "
        "folders as classes.",
        late=True,
    )
    test_part: str | None = option(
        None, "Test on this part: a folder, a split, or the beginning of file names.", late=True
    )
    class_order: str | None = option(
        None,
        "Order the classes by sorted names, by natural ones (1, 2, 10, as timm does), or as in a "
        "FILE with a class a line.",
        late=True,
    )
    class_map: str | None = option(
        None,
        "Name the classes, or place them among those of a larger model, by this file (JSON or "
        "lines: index or folder, name).",
        late=True,
    )
    keep_together: str | None = option(
        None,
        "Keep images of one group on one side of every cut: a pattern for file names, as "
        "'patient\\d+', or a FILE with an image and its group a line.",
        late=True,
    )
    skip_unreadable: bool = option(
        False, "Go on without images that cannot be decoded, and record which.", late=True
    )
    max_pixels: int | None = option(
        None, "Decode images of up to this many pixels, instead of about 89 million.", late=True
    )
    train_images: int | None = option(
        None,
        "Keep about this many training images, the same share of every class, the same for every "
        "seed.",
        late=True,
    )
    backbone: str = option(
        "small-cnn", "Use the network small-cnn, resnet18, …, timm:NAME or torchvision:NAME."
    )
    features: int | None = option(None, "Map the features to this size by a linear neck.")
    neck: NeckName = option("none", "Put none, linear or batchnorm behind the backbone.")
    pretrained: bool = option(False, "Start from published weights.")
    initial: Initial = option(
        "own",
        "Start the backbone from its own first weights, or from xavier.",
        choices=Initial,
        late=True,
    )
    start_from: str | None = option(
        None, "Start from the weights in this folder of a finished run.", late=True
    )
    augmentation: str = option(
        "auto", "Augment by auto (the data set's own way), none, or steps: crop:4,flip,mixup:1."
    )
    sampling: Sampling = option(
        "each",
        "Take each training image once in an epoch, or draw as many: classes equally often "
        "(class-balanced), or by the square root of their counts (square-root).",
        choices=Sampling,
        late=True,
    )
    choose: Choose = option(
        "validation",
        "Choose the epoch on validation, a tenth of the training images; take the last one, and "
        "train on all images; or choose on test, as some papers did.",
        choices=Choose,
        late=True,
    )

    @property
    def reading(self) -> Reading:
        """How the data are read."""
        return Reading(**{one.name: getattr(self, one.name) for one in fields(Reading)})


@dataclass(frozen=True)
class Comparison(Task):
    """Arms × seeds on one data set with one backbone and one recipe.

    The recipe is the same for every arm, but for the learning rate where it is tuned.
    """

    data_dir: str | None = option(None, "Look for the files of a named data set in this folder.")
    heads: tuple[str, ...] = option(
        DEFAULT_HEADS, "Compare these heads: presets or specs, separated by commas."
    )
    seeds: int = option(3, "Run every arm this many times, in pairs.")
    first_seed: int = option(0, "Begin with this seed.", late=True)
    tune: tuple[float, ...] = option(
        (), "Let every arm search learning rates, lr=RATE,RATE,…, on validation with seed 0."
    )
    device: str = option("auto", "Compute on auto, cpu, cuda, cuda:1, mps, …")
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        # This brings torch, which a comparison that is made needs anyway.
        from ..heads.spec import parse_head

        self.reading  # noqa: B018  refuses what it cannot be

        if self.seeds < 1:
            raise RequestError(f"seeds must be 1 or more, got {self.seeds}")
        if not 0 <= self.first_seed < 2**31:
            raise RequestError(f"a seed must be between 0 and 2**31 - 1, got {self.first_seed}")
        if not self.heads:
            raise RequestError("heads must name at least one head, got none")
        for head in self.heads:
            parse_head(head)
        if self.imbalance is not None:
            read_long_tail(self.imbalance)
        refuse_other_values(self)
        if self.train_images is not None and self.train_images < 1:
            raise RequestError(f"train_images must be 1 or more, got {self.train_images}")
        double = sorted({head for head in self.heads if self.heads.count(head) > 1})
        if double:
            raise RequestError(f"heads must be different from one another, got {double[0]} twice")
        if self.tune and self.choose != "validation":
            raise RequestError(f"tune needs choose='validation', got choose={self.choose!r}")
        if self.recipe.patience and self.choose == "last":
            raise RequestError(
                f"patience={self.recipe.patience} needs a score that chooses the epoch, got "
                "choose='last'"
            )
        if any(not rate > 0 for rate in self.tune):
            raise RequestError(f"tune must hold learning rates above 0, got {list(self.tune)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, as config.json keeps them; a data path is kept as it was given."""
        facts = asdict(self) | {"heads": list(self.heads), "tune": list(self.tune)}
        facts["recipe"] = self.recipe.to_dict()
        added = {
            name: facts[name]
            for name in ("sampling", "start_from")
            if facts[name] != getattr(Comparison, name)
        }
        return {name: facts[name] for name in _RECORDED_ORDER} | added | self.reading.chosen()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Comparison:
        """The inverse of to_dict; unknown names are refused, and missing ones are the defaults."""
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
        from ..runs.records import dumps

        facts = self.to_dict()
        if self.data_dir is not None:
            facts["data_dir"] = str(Path(self.data_dir).resolve())
        if self.imbalance is not None and self.imbalance.startswith("counts:"):
            facts["imbalance"] = [
                "counts",
                _content("imbalance", Path(self.imbalance.partition(":")[2])),
            ]
        for name in ("class_order", "class_map", "keep_together"):
            if facts.get(name) is not None and Path(facts[name]).is_file():
                facts[name] = ["file", read_text(Path(facts[name]), name)]
        if self.start_from is not None:
            weights = Path(self.start_from) / MODEL_FACTS_FILE  # which holds their digest
            facts["start_from"] = ["model", _content("start_from", weights)]
        facts["recipe"] = as_first_recorded(self.recipe, facts["recipe"])
        facts = as_first_recorded(self, facts)
        return _sha256(dumps(facts))


_RECORDED_ORDER = (
    *("data", "data_dir", "image_size", "imbalance", "backbone", "features", "neck", "pretrained"),
    *("heads", "seeds", "first_seed", "augmentation", "train_images", "choose", "initial", "tune"),
    *("device", "recipe"),
)
"""The order of config.json's fields, which the digest is taken in; how the data are read follows,
where anything was said of it."""


def _sha256(text: str) -> str:
    import hashlib  # it brings OpenSSL, which no help and no refusal needs

    return hashlib.sha256(text.encode()).hexdigest()


def _content(option: str, path: Path) -> str:
    """What is in a file makes the comparison, wherever it lies."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{option} {path} cannot be read ({error})") from error


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
            safe = f"{safe[:60]}-{_sha256(self.head)[:6]}"
        return f"{safe}-seed{self.seed}"

    @property
    def file(self) -> str:
        """Where its record goes."""
        return RUNS_FILE


@dataclass(frozen=True)
class TuningPlan(RunPlan):
    """A run that only chooses a learning rate; it never sees the test set."""

    @property
    def run_id(self) -> str:
        return f"{super().run_id}-lr{self.recipe.lr:g}"

    @property
    def file(self) -> str:
        return TUNING_FILE


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

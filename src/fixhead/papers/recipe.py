"""A paper's training: the configuration of ``fixhead compare``, and where each setting comes from.

Also what all papers share: the three scales and what a smaller one changes, seeds, titles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from ..comparison.config import Comparison, Task
from ..training.recipe import Recipe

ScaleName = Literal["full", "long", "medium", "small"]
"""The paper's own; its epochs, but larger batches, on one GPU; minutes of one GPU; minutes of two
CPU cores."""
Places = Mapping[ScaleName, Sequence[tuple[str, str]]]
"""Scale → (data, backbone) of every row of a table."""

SEEDS = 3
JPEG_COPY = "cifar10-jpeg"
"""CIFAR-10 decoded from JPEG files: the same pictures, not the same pixels."""
DATA_TITLES = {
    "digits": "Digits (scikit-learn)",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    JPEG_COPY: "CIFAR-10 (JPEG copy)",
    "cifar100": "CIFAR-100",
    "stl10": "STL-10",
    "svhn-extra": "SVHN with extra",
    "tiny-imagenet": "Tiny ImageNet",
    "imagenet": "ImageNet",
    "cub200": "CUB-200-2011",
}
NETWORK_TITLES = {
    "small-cnn": "small-cnn",
    "resnet18": "ResNet-18",
    "preact-resnet18": "PreActResNet-18",
    "mobilenetv2": "MobileNetV2",
    "resnet32": "ResNet-32",
    "resnet32x2": "ResNet-32, double width",
    "resnet56": "ResNet-56",
    "densenet-bc-100-12": "DenseNet-BC-100",
    "densenet-bc-150-12": "DenseNet-BC-150-12",
    "shufflenet": "ShuffleNet, 3 groups",
    "timm:resnet50": "ResNet-50",
    "timm:densenet169": "DenseNet-169",
}


def place(data: str, net: str) -> str:
    """A table's row: ``"CIFAR-10, ResNet-18"``."""
    return f"{DATA_TITLES.get(data, data)}, {NETWORK_TITLES.get(net, net)}"


@dataclass(frozen=True)
class PaperRequest:
    """What a person asked of an item.

    ``seeds``, ``epochs`` and ``batch_size`` replace the recipe's own numbers; the page says so.
    """

    scale: ScaleName = "full"
    as_published: bool = False
    seeds: int | None = None
    epochs: int | None = None
    batch_size: int | None = None

    def seed_numbers(self, usual: int = SEEDS) -> range:
        return range(self.seeds or usual)


# --- a recipe and its origins ---------------------------------------------------------------------

OURS = "our choice"


@dataclass(frozen=True)
class PaperRecipe:
    """Data, network and training of a paper's runs; made by ``stated``, varied by ``changed``.

    config: all settings; its heads and seeds are each run's own (``comparison``).
    origins: setting → the stated value, and whether the ``"paper"``, only its released ``"code"``
    or nobody (``"our choice"``) states it.
    fixed_milestones: another number of epochs leaves them: the paper states them, and no total.
    """

    config: Comparison
    origins: Mapping[str, tuple[Any, str]]
    fixed_milestones: bool = False

    def changed(self, **settings: Any) -> PaperRecipe:
        """The same with other settings: where they differ from what is stated, our choice."""
        return replace(self, config=_changed(self.config, settings))

    def with_epochs(self, epochs: int | None) -> PaperRecipe:
        """Another number of epochs, in which milestones and warm-up keep their share; None: as is.

        A warm-up is never longer than the training.
        """
        if epochs is None:
            return self
        training = self.config.recipe
        share = epochs / training.epochs
        warmup = min(float(epochs), share * training.warmup_epochs)
        moved = {max(1, round(share * at)) for at in training.milestones}
        milestones = training.milestones if self.fixed_milestones else tuple(sorted(moved))
        return self.changed(epochs=epochs, warmup_epochs=warmup, milestones=milestones)

    def as_asked(self, request: PaperRequest) -> PaperRecipe:
        """With the request's own epochs and batch size, where it names any."""
        chosen = self.with_epochs(request.epochs)
        if request.batch_size is None:
            return chosen
        return chosen.changed(batch_size=request.batch_size)

    def comparison(self, head: str, seed: int) -> Comparison:
        """One arm and one seed, for the engine of ``fixhead compare``."""
        return replace(self.config, heads=(head,), seeds=1, first_seed=seed)

    def described(self) -> dict[str, dict[str, Any]]:
        """Every setting's value and origin; a value that is not the stated one is our choice, and
        what is stated stands beside it."""
        described = {}
        for name, value in _settings(self.config).items():
            if name not in self.origins and (value is None or value is False or value == ()):
                continue  # an option that nobody states and that is off
            stated_value, origin = self.origins.get(name, (value, OURS))
            shown = list(value) if isinstance(value, tuple) else value
            described[name] = {"value": shown, "source": origin if value == stated_value else OURS}
            if value != stated_value and origin != OURS:
                described[name]["stated"] = (
                    list(stated_value) if isinstance(stated_value, tuple) else stated_value
                )
        return described


def stated(
    *,
    paper: Mapping[str, Any] = MappingProxyType({}),
    code: Mapping[str, Any] = MappingProxyType({}),
    ours: Mapping[str, Any] = MappingProxyType({}),
    fixed_milestones: bool = False,
) -> PaperRecipe:
    """A recipe whose settings the paper states, only its released code, or neither (our choice).

    Settings named in none of them are the defaults of ``fixhead compare``, our choice too.

    Raises:
        RequestError: a name that is no setting, or a value that it cannot have.
    """
    groups = ((paper, "paper"), (code, "code"), (ours, OURS))
    origins = {name: (value, origin) for group, origin in groups for name, value in group.items()}
    config = _changed(Comparison(), {name: value for name, (value, _) in origins.items()})
    return PaperRecipe(config, origins, fixed_milestones)


def _settings(config: Comparison) -> dict[str, Any]:
    """What is trained on what, and how; the heads and seeds are each run's own."""
    outer = {one.name: getattr(config, one.name) for one in fields(Task)}
    return outer | {one.name: getattr(config.recipe, one.name) for one in fields(Recipe)}


def _changed(config: Comparison, settings: Mapping[str, Any]) -> Comparison:
    names = {one.name for one in fields(Recipe)}
    inner = {name: value for name, value in settings.items() if name in names}
    outer = {name: value for name, value in settings.items() if name not in names}
    return replace(config, recipe=replace(config.recipe, **inner), **outer)


# --- scales ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reduction:
    """A scale below the paper's: what it changes of a recipe, and what its tables say of that."""

    epochs: int
    settings: Mapping[str, Any]
    differs: tuple[str, ...]

    def of(self, recipe: PaperRecipe, **more: Any) -> PaperRecipe:
        return recipe.with_epochs(self.epochs).changed(**self.settings, **more)


def small_scale(
    images: int, epochs: int, *, batch_size: int = 32, warmup_epochs: float = 0.0, about: str = ""
) -> Reduction:
    """Two CPU cores: one fixed small network, few images, a cosine schedule; the same for all arms.

    ``about`` stands before the number of images where a long tail is cut from them.
    """
    settings = {
        "backbone": "small-cnn",
        "train_images": images,
        "batch_size": batch_size,
        "schedule": "cosine",
        "warmup_epochs": warmup_epochs,
        "milestones": (),
    }
    differs = (
        "a smaller net: small-cnn",
        f"{about}{images:,} training images",
        f"{epochs} epochs",
    )
    return Reduction(epochs, settings, differs)


def medium_scale(epochs: int, **settings: Any) -> Reduction:
    """Minutes of one GPU: the paper's network and all images, fewer epochs, in bfloat16."""
    differs = [f"{epochs} epochs"]
    if "batch_size" in settings:
        differs.append(f"batches of {settings['batch_size']}")
    fast = {"precision": "bf16-mixed", "compile": True}
    return Reduction(epochs, fast | settings, tuple(differs))


def long_scale(epochs: int, **settings: Any) -> Reduction:
    """An hour of one GPU: the paper's network, epochs and schedule, in bfloat16; batches as given,
    because the papers' small ones keep a large card waiting."""
    batches = (f"batches of {settings['batch_size']}",) if "batch_size" in settings else ()
    fast = {"precision": "bf16-mixed", "compile": True}
    return Reduction(epochs, fast | settings, batches)


def small_augmentation(data: str) -> str:
    """Of 32 × 32 photographs; digits are left as they are, a flipped one is another sign."""
    return "none" if data in ("digits", "mnist") else "crop:4,flip"


def what_differs(
    request: PaperRequest,
    data: str,
    reductions: Mapping[ScaleName, Reduction],
    *more: str,
    batch_size: int | None = None,
) -> tuple[str, ...]:
    """Why runs cannot be held against the paper's figure; empty where they can.

    ``batch_size`` is the paper's, where it states one.
    """
    reduction = reductions.get(request.scale)
    reasons = [*(() if reduction is None else reduction.differs), *more]
    if request.batch_size is not None:
        reasons = [one for one in reasons if not one.startswith("batches of ")]
        if request.batch_size != batch_size:
            reasons.append(f"batches of {request.batch_size}")
    if data == JPEG_COPY:
        reasons.append("another data copy (JPEG)")
    if request.epochs is not None:
        reasons.append(f"a shorter schedule: {request.epochs} epochs")
    return tuple(reasons)

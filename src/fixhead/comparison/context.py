"""What all the runs of a comparison share: the data, and how a model is built for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from .._errors import RequestError
from ..backbones.backbone import Backbone, xavier_
from ..backbones.registry import IDENTITY, build
from ..data.augment.chain import augmentation
from ..data.batches import Batches
from ..data.catalogue import load
from ..data.dataset import Dataset, Labels, Split
from ..data.encoded import Streamed
from ..data.near_duplicates import near_duplicates
from ..data.splits import is_imbalanced, share, thin, validation_split
from ..heads.spec import HeadSpec, parse_head
from ..training.checkpoints import load_model_state, read_description
from ..training.engine import resolve_device
from ..training.loop import ChooseOn
from ..training.model import Classifier, build_classifier
from ..training.step import check_mixing
from .config import Comparison, RunPlan

UPRIGHT = ("digits", "mnist")
"""Data sets whose pictures mean something else when flipped."""

LEAK_SHARE = 0.01
"""Fewer images than this share that look like a training image are not warned of."""

MOST_FEATURES = 4096
"""More features than this are not proposed."""


SMALL, MEDIUM = 32, 64
"""Images of up to so many pixels are small; of up to so many they need no stem that shrinks."""

PUBLISHED = ("timm:resnet18", "timm/resnet18.a1_in1k", "model.safetensors")
"""The network for larger pictures, and where its weights lie in the hub's cache."""

FINE_TUNING_RATE = 0.01
"""The learning rate that published weights are trained on with: the usual one would undo them."""


@dataclass(frozen=True)
class Chosen:
    """The network that ``fixhead train`` takes where none was named, and why: a sentence."""

    backbone: str
    pretrained: bool
    why: str


def sensible_backbone(dataset: Dataset) -> Chosen:
    """One network for each size of image.

    Up to 32 pixels ``small-cnn``, which two processor cores train within minutes; up to 64
    ``resnet18``, which keeps the image's size in its first layers; beyond that timm's ResNet-18,
    which shrinks the image fourfold first. That one starts from published weights where the hub's
    cache on this machine has them and the images have colour; nothing is fetched unasked.
    """
    size = dataset.image_size
    if len(dataset.train.images.shape) == 2:
        return Chosen(IDENTITY, False, f"backbone: {IDENTITY}, because the data are features")
    if size <= SMALL:
        why = f"the images have {size} pixels, and two processor cores train it within minutes"
        return Chosen("small-cnn", False, f"backbone: small-cnn, because {why}")
    if size <= MEDIUM:
        why = f"at {size} pixels its first layers need not shrink the images"
        return Chosen("resnet18", False, f"backbone: resnet18, because {why}")
    name, repository, file = PUBLISHED
    why = f"backbone: {name}, because its first layers shrink images of {size} pixels"
    if dataset.channels != 3:
        return Chosen(name, False, f"{why}; it starts from random weights, as images are grey")
    from huggingface_hub import try_to_load_from_cache

    if isinstance(try_to_load_from_cache(repository, file), str):
        known = f"it starts from published weights, at a learning rate of {FINE_TUNING_RATE:g}"
        return Chosen(name, True, f"{why}; {known}")
    return Chosen(
        name,
        False,
        f"{why}; its published weights are not in the hub's cache of this machine, so it starts "
        "from random ones (--backbone "
        f"{name} --pretrained fetches them)",
    )


@dataclass(frozen=True)
class Parts:
    """The batches of one seed: training, validation, test."""

    train: Batches
    validation: Batches | None
    test: Batches


@dataclass(frozen=True)
class Context:
    """A comparison with its data loaded."""

    comparison: Comparison
    dataset: Dataset
    device: torch.device

    @property
    def choose_on(self) -> ChooseOn:
        """Accuracy, or balanced accuracy where the training classes are unequal; or nothing."""
        if self.comparison.choose == "last":
            return "last"
        counts = self.dataset.train.counts(len(self.dataset.classes))
        return "balanced_accuracy" if is_imbalanced(counts) else "accuracy"

    @property
    def augmentation_name(self) -> str:
        """The augmentation in words; ``auto`` is settled here, so that records hold what was done.

        Photographs are shifted by up to an eighth of their size and flipped, as the papers do;
        digits are left as they are, because a flipped digit is another sign.
        """
        if self.comparison.augmentation != "auto":
            return self.comparison.augmentation
        if self.dataset.name in UPRIGHT or self.dataset.image_size < 8:
            return "none"
        return f"crop:{max(1, self.dataset.image_size // 8)},flip"

    @property
    def choices(self) -> list[str]:
        """What was chosen without being asked for, or decides what the figures mean: sentences."""
        data, chosen = self.dataset, self.comparison
        asked = "" if chosen.augmentation != "auto" else " (auto)"
        flips = "flip" in self.augmentation_name.split(",")
        flipped = "; images are flipped left to right" if flips else ""
        lines = []
        if self.backbone_name != chosen.backbone:
            lines.append(f"backbone: {self.backbone_name}, because the data are features")
        lines.append(f"augmentation: {self.augmentation_name}{asked}{flipped}")
        if chosen.choose == "validation":
            first, second = self.validation_cut(chosen.first_seed)
            grouped = ", whole groups" if data.train.groups is not None else ""
            lines.append(
                f"validation: {len(second):,} of {len(first) + len(second):,} training images"
                f"{grouped}; the epoch is chosen by {self.choose_on.replace('_', ' ')}"
            )
        return [*lines, *(f"data: {note}" for note in data.notes), *self._leaks()]

    def _leaks(self) -> Iterator[str]:
        """Parts of a person's own data that hold almost the images that are trained on."""
        data = self.dataset
        if not data.from_path or isinstance(data.train.images, Streamed):
            return
        train, others = data.train, {"test": data.test}
        if self.comparison.choose == "validation":
            first, second = self.validation_cut(self.comparison.first_seed)
            train, others["validation"] = data.train.take(first), data.train.take(second)
        for part, other in others.items():
            alike, judged = near_duplicates(train, other)
            if alike > LEAK_SHARE * judged:
                yield (
                    f"leak: {alike} of {judged} {part} images look almost like a training image; "
                    "if they are frames of one video or pictures of one object, --keep-together "
                    "keeps those on one side"
                )

    def parts(self, seed: int, batch_size: int) -> Parts:
        """Every arm of one seed gets the same split, order and augmentation draws."""
        data = self.dataset
        test = self.batches(data.test, seed, batch_size, shuffle=False)
        if self.comparison.choose != "validation":
            train = self.batches(data.train, seed, batch_size, shuffle=True)
            return Parts(train, test if self.comparison.choose == "test" else None, test)
        first, second = self.validation_cut(seed)
        return Parts(
            self.batches(data.train.take(first), seed, batch_size, shuffle=True),
            self.batches(data.train.take(second), seed, batch_size, shuffle=False),
            test,
        )

    @property
    def backbone_name(self) -> str:
        """The network that was asked for; feature arrays need none, and take the identity."""
        features = len(self.dataset.train.images.shape) == 2
        default = self.comparison.backbone == Comparison.backbone
        return IDENTITY if features and default else self.comparison.backbone

    def validation_cut(self, seed: int) -> tuple[Labels, Labels]:
        """The indices of one seed's training and validation images."""
        train = self.dataset.train
        return validation_split(train.labels, seed=seed, groups=train.groups)

    def backbone(self, seed: int) -> Backbone:
        """Every arm of one seed starts from the same weights."""
        chosen = self.comparison
        if len(self.dataset.train.images.shape) == 2 and self.backbone_name != IDENTITY:
            raise RequestError(
                f"features need --backbone {IDENTITY}, got {chosen.backbone}, which takes images"
            )
        backbone = build(
            self.backbone_name,
            channels=self.dataset.channels,
            image_size=self.dataset.image_size,
            features=chosen.features,
            neck=chosen.neck,
            pretrained=chosen.pretrained,
            seed=seed,
        )
        if chosen.initial == "xavier":
            xavier_(backbone, seed)
        return backbone

    def model(self, plan: RunPlan) -> Classifier:
        """Backbone and head of one run; frozen and learned arms draw the same vectors."""
        model = build_classifier(
            self.backbone(plan.seed),
            plan.head,
            len(self.dataset.classes),
            counts=self.training_counts(plan.seed),
            seed=plan.seed,
        )
        if self.comparison.start_from is not None:
            self._start(model, Path(self.comparison.start_from))
        return model

    def head_spec(self, head: str, seed: int) -> HeadSpec:
        """The switches of an arm's head, those that it leaves to ``auto`` settled for this data."""
        asked = parse_head(head)
        if asked.logits != "auto":
            return asked
        spec = self.model(RunPlan(head, seed, self.comparison.recipe)).head.spec
        assert spec is not None
        return spec

    def _start(self, model: Classifier, folder: Path) -> None:
        """Put a finished run's weights into ``model``.

        Raises:
            RequestError: it learned from other classes, or from pictures normalised otherwise.
        """
        facts, data = read_description(folder), self.dataset
        ours = {"classes": list(data.classes), "mean": list(data.mean), "std": list(data.std)}
        for name, value in ours.items():
            if facts.get(name) != value:
                raise RequestError(
                    f"the model of {folder} goes on with data of the same {name}, got others; "
                    "name the data that it learned from"
                )
        load_model_state(folder, model)

    def training_counts(self, seed: int) -> torch.Tensor:
        """Images per class (K,) after the validation split was taken."""
        train = self.dataset.train
        if self.comparison.choose == "validation":
            train = train.take(self.validation_cut(seed)[0])
        return torch.from_numpy(train.counts(len(self.dataset.classes)))

    def batches(self, split: Split, seed: int, batch_size: int, *, shuffle: bool) -> Batches:
        return Batches(
            split,
            batch_size,
            device=self.device,
            mean=self.dataset.mean,
            std=self.dataset.std,
            augmentation=augmentation(self.augmentation_name) if shuffle else None,
            seed=seed,
            shuffle=shuffle,
            sampling=self.comparison.sampling if shuffle else "each",
        )


def prepare(comparison: Comparison) -> Context:
    """Load the data and try every head, so that what cannot be met is refused at once.

    Raises:
        RequestError: the data, the backbone or a head cannot be had as asked.
    """
    context = open_context(comparison)
    check_heads(context)
    return context


def open_context(comparison: Comparison) -> Context:
    """The comparison with its data loaded."""
    return Context(comparison, load_data(comparison), resolve_device(comparison.device))


def check_heads(context: Context) -> None:
    """Refuse a head that cannot be built here, or cannot take what the augmentation mixes."""
    comparison = context.comparison
    chain = augmentation(context.augmentation_name)
    body = (context.backbone_name, context.dataset.channels, context.dataset.image_size)
    if body[0] == IDENTITY:  # the others were tried before images were decoded
        refuse_impossible(comparison, len(context.dataset.classes), body)
    for head in comparison.heads:
        model = context.model(RunPlan(head, 0, comparison.recipe))
        if not any(weight.requires_grad for weight in model.parameters()):
            raise RequestError(
                f"--heads {head}: nothing would be trained, neither features nor class vectors; "
                "--neck linear puts a trained map before them"
            )
        check_mixing(None if chain is None else chain.mixing, model.head)


def same_heads(context: Context) -> dict[str, str]:
    """The arms that say ``auto`` and mean here what another arm says, each with that other one.

    They would be trained twice to the same weights, and count twice in what is compared.
    """
    heads = context.comparison.heads
    autos = [head for head in heads if parse_head(head).vectors == "auto"]
    if not autos:
        return {}
    meant = {head: _meaning(context, head) for head in heads}
    found: dict[str, str] = {}
    for head in autos:
        others = (
            other
            for other in heads
            if other != head and other not in found and meant[other] == meant[head]
        )
        same = next(others, None)
        if same is not None:
            found[head] = same
    return found


def _meaning(context: Context, head: str) -> HeadSpec:
    """The head's switches with what was left to choose settled."""
    layer = context.model(RunPlan(head, 0, context.comparison.recipe)).head
    spec = layer.spec or parse_head(head)
    return replace(spec, vectors=layer.construction, code_width=layer.code_width)


def load_data(comparison: Comparison) -> Dataset:
    """The data set, with the share of its training images and the long tail that were asked for."""
    folder = None if comparison.data_dir is None else Path(comparison.data_dir)
    dataset = load(
        comparison.data,
        data_dir=folder,
        image_size=comparison.image_size,
        reading=comparison.reading,
        before_decoding=lambda classes: refuse_impossible(comparison, classes),
    )
    if comparison.train_images is not None:
        dataset = share(dataset, comparison.train_images)
    return dataset if comparison.imbalance is None else thin(dataset, comparison.imbalance)


def refuse_impossible(
    comparison: Comparison, classes: int, body: tuple[str, int, int] | None = None
) -> None:
    """Refuse heads that cannot be had for so many classes, before any image is decoded.

    ``body`` is the backbone's name with the channels and the size of its images, where known.

    Raises:
        RequestError: naming the arm, and the number of features that would do.
    """
    if classes < 2:
        return  # which the data set itself refuses
    counts = torch.ones(classes, dtype=torch.int64)
    name, channels, size = body or (comparison.backbone, 3, comparison.image_size or 32)

    def attempt(head: str, features: int | None) -> RequestError | None:
        try:
            backbone = build(
                name,
                channels=channels,
                image_size=size,
                features=features,
                neck=comparison.neck,
                seed=0,
            )
            build_classifier(backbone, head, classes, counts=counts, seed=0)
        except RequestError as error:
            return error
        return None

    for head in comparison.heads:
        error = attempt(head, comparison.features)
        if error is None:
            continue
        enough = 1 << max(classes - 2, 1).bit_length()
        helps = enough <= MOST_FEATURES and attempt(head, enough) is None
        advice = f"; --features {enough} would do" if helps else ""
        raise RequestError(f"--heads {head}: {error}{advice}") from error

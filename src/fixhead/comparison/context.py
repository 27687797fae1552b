"""What all the runs of a comparison share: the data, and how a model is built for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..backbones import Backbone, build, xavier_
from ..data import (
    Batches,
    Dataset,
    Split,
    augmentation,
    is_imbalanced,
    load,
    share,
    thin,
    validation_split,
)
from ..training import Classifier, build_classifier, check_mixing, resolve_device
from ..training.loop import ChooseOn
from .config import Comparison, RunPlan

UPRIGHT = ("digits", "mnist")
"""Data sets whose pictures mean something else when flipped."""


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

    def parts(self, seed: int, batch_size: int) -> Parts:
        """Every arm of one seed gets the same split, order and augmentation draws."""
        data = self.dataset
        test = self.batches(data.test, seed, batch_size, shuffle=False)
        if self.comparison.choose != "validation":
            train = self.batches(data.train, seed, batch_size, shuffle=True)
            return Parts(train, test if self.comparison.choose == "test" else None, test)
        first, second = validation_split(data.train.labels, seed=seed)
        return Parts(
            self.batches(data.train.take(first), seed, batch_size, shuffle=True),
            self.batches(data.train.take(second), seed, batch_size, shuffle=False),
            test,
        )

    def backbone(self, seed: int) -> Backbone:
        """Every arm of one seed starts from the same weights."""
        chosen = self.comparison
        backbone = build(
            chosen.backbone,
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
        return build_classifier(
            self.backbone(plan.seed),
            plan.head,
            len(self.dataset.classes),
            counts=self.training_counts(plan.seed),
            seed=plan.seed,
        )

    def training_counts(self, seed: int) -> torch.Tensor:
        """Images per class (K,) after the validation split was taken."""
        train = self.dataset.train
        if self.comparison.choose == "validation":
            train = train.take(validation_split(train.labels, seed=seed)[0])
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
    for head in comparison.heads:
        model = context.model(RunPlan(head, 0, comparison.recipe))
        check_mixing(None if chain is None else chain.mixing, model.head)


def load_data(comparison: Comparison) -> Dataset:
    """The data set, with the share of its training images and the long tail that were asked for."""
    folder = None if comparison.data_dir is None else Path(comparison.data_dir)
    dataset = load(comparison.data, data_dir=folder, image_size=comparison.image_size)
    if comparison.train_images is not None:
        dataset = share(dataset, comparison.train_images)
    return dataset if comparison.imbalance is None else thin(dataset, comparison.imbalance)

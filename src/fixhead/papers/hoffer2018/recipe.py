"""Networks, arms and training of Hoffer et al. 2018, at the paper's scale and a small one."""

from __future__ import annotations

from ..item import Option, only, training_cells
from ..recipe import (
    JPEG_COPY,
    PaperRecipe,
    PaperRequest,
    Reduction,
    ScaleName,
    long_scale,
    small_augmentation,
    small_scale,
    stated,
    what_differs,
)

NAME = "hoffer2018"
SMALL_DATA = ("digits", "mnist", JPEG_COPY)

LEARNED, ORTHONORMAL, HADAMARD = "learned", "fixed, orthonormal", "fixed, Hadamard"
ARMS = {
    LEARNED: "learned-dot",
    ORTHONORMAL: "vectors=orthonormal,logits=cosine,scale=learned,bias=yes",
    HADAMARD: "vectors=hadamard,logits=cosine,scale=learned,bias=yes",
}
RELEASED = {
    LEARNED: "learned-dot",
    ORTHONORMAL: "hoffer-projection",
    HADAMARD: "hoffer-hadamard",
}

NOTES = (
    "The paper's text is not at hand: its accuracies and sizes are recalled, and with which of its "
    "two frozen matrices each was reached is not known; both are run.",
    "All images are trained on and the last epoch counts. One learning rate for all arms.",
)
SMALL_NOTE = (
    "The small scale stops after a few epochs, where a head that learns faster looks better than "
    "it would at the end of a full training: it tells of the start, not of the paper's accuracies."
)
RELEASED_NOTE = (
    "As released: rows of ±1 and −α (Hadamard), a projection that is not normalised, α from "
    "1/√K and 10. Training is that of the fair protocol: the release chooses no epoch by itself."
)

CIFAR = stated(
    paper={"data": "cifar10", "backbone": "resnet56"},
    code={
        "optimizer": "sgd",
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "schedule": "step",
        "milestones": (81, 122, 164),
        "gamma": 0.1,
    },
    ours={
        "augmentation": "crop:4,flip",
        "choose": "last",
        "epochs": 200,
        "batch_size": 128,
        "nesterov": False,
        "warmup_epochs": 0.0,
    },
)
"""CIFAR: the defaults of the authors' convNet.pytorch, which is later than the paper."""
SMALL = small_scale(2_000, 6, warmup_epochs=0.5)
LONG = long_scale(CIFAR.config.recipe.epochs)
SCALES: dict[ScaleName, Reduction] = {"small": SMALL, "long": LONG}


def full(data: str, backbone: str) -> PaperRecipe:
    """The paper's scale.

    fixhead paper hoffer2018 table1 --scale full --data-dir DIR
    One data-centre GPU: about half an hour a run for CIFAR, a day for ImageNet (estimates).
    """
    chosen = CIFAR.changed(data=data, backbone=backbone)
    if data == "tiny-imagenet":
        return chosen.changed(augmentation="crop:8,flip")
    if data != "imagenet":
        return chosen
    return chosen.changed(
        augmentation="rrc,flip", epochs=90, batch_size=256, milestones=(30, 60, 80)
    )


def long() -> PaperRecipe:
    """CIFAR-10 (JPEG copy) and ResNet-56 over all 200 epochs, in bfloat16.

    fixhead paper hoffer2018 table1 --scale long --data-dir DIR
    One data-centre GPU: not timed.
    """
    return LONG.of(full(JPEG_COPY, "resnet56"))


def small(data: str) -> PaperRecipe:
    """One fixed small network, at most 2,000 training images and 6 epochs for every arm.

    fixhead paper hoffer2018 table1 --scale small --data-dir DIR
    One CPU core with nothing else to do: 3 to 10 seconds a run.
    """
    return SMALL.of(CIFAR, data=data, augmentation=small_augmentation(data))


def small_tiny() -> PaperRecipe:
    """Tiny ImageNet at 32 × 32, 100 images of each class: more classes (200) than features (64).

    fixhead paper hoffer2018 repeats --scale small --data-dir DIR
    One CPU core with nothing else to do: about two minutes a run.
    """
    return small("tiny-imagenet").changed(
        image_size=32, train_images=20_000, epochs=10, batch_size=64, warmup_epochs=1.0
    )


def option(request: PaperRequest, recipe: PaperRecipe, head: str) -> tuple[Option, ...]:
    return only(training_cells(request, recipe, head))


def differs(request: PaperRequest, data: str) -> tuple[str, ...]:
    """Why a run cannot be held against the paper's figure."""
    return what_differs(request, data, SCALES)

"""Networks, arms and training of Hoffer et al. 2018, at the paper's scale and a small one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...comparison.config import Choose
from ...training.recipe import Optimizer, ScheduleName
from ..cells import TrainingCell
from ..item import Option, Request
from ..printed import Printed, recalled
from ..recipe import PaperRecipe, code, ours, paper

NAME = "hoffer2018"
SEEDS = 3
SMALL_DATA = ("digits", "mnist", "cifar10-jpeg")
SMALL_IMAGES = 2_000
SMALL_EPOCHS = 6
TITLES = {
    "digits": "Digits (scikit-learn)",
    "mnist": "MNIST",
    "cifar10-jpeg": "CIFAR-10 (JPEG copy)",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "imagenet": "ImageNet",
    "tiny-imagenet": "Tiny ImageNet",
}


@dataclass(frozen=True)
class Network:
    """A row of the paper's table: all its figures are recalled, unverified.

    ``learned`` and ``fixed`` are accuracies in per cent, ``parameters`` those of the whole network,
    ``share`` the classifier's in per cent.
    """

    title: str
    data: str
    backbone: str
    classes: int
    learned: float
    fixed: float
    parameters: int
    share: float

    @property
    def place(self) -> str:
        return f"{TITLES[self.data]}, {self.title}"


NETWORKS = (
    Network("ResNet-56", "cifar10", "resnet56", 10, 93.03, 93.14, 855_770, 0.07),
    Network("DenseNet-BC-100", "cifar100", "densenet-bc-100-12", 100, 77.73, 77.67, 800_032, 4.2),
    Network("ResNet-50", "imagenet", "timm:resnet50", 1000, 75.3, 75.3, 25_557_032, 8.01),
    Network("DenseNet-169", "imagenet", "timm:densenet169", 1000, 76.2, 76.0, 14_149_480, 11.76),
    Network("ShuffleNet, 3 groups", "imagenet", "shufflenet", 1000, 65.9, 65.4, 1_826_555, 52.56),
)

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


@dataclass(frozen=True)
class Recipe2018(PaperRecipe):
    """CIFAR: the defaults of the authors' convNet.pytorch, which is later than the paper."""

    data: str = paper("cifar10")
    backbone: str = paper("resnet56")
    augmentation: str = ours("crop:4,flip")
    choose: Choose = ours("last")
    epochs: int = ours(200)
    batch_size: int = ours(128)
    optimizer: Optimizer = code("sgd")
    lr: float = code(0.1)
    momentum: float = code(0.9)
    nesterov: bool = ours(False)
    weight_decay: float = code(1e-4)
    schedule: ScheduleName = code("step")
    warmup_epochs: float = ours(0.0)
    milestones: tuple[int, ...] = code((81, 122, 164))
    gamma: float = code(0.1)


def full(data: str, backbone: str) -> Recipe2018:
    """The paper's scale.

    fixhead paper hoffer2018 table1 --scale full --data-dir DIR
    One data-centre GPU: about half an hour a run for CIFAR, a day for ImageNet (estimates).
    """
    chosen = replace(Recipe2018(), data=data, backbone=backbone)
    if data == "tiny-imagenet":
        return replace(chosen, augmentation="crop:8,flip")
    if data != "imagenet":
        return chosen
    return replace(
        chosen, augmentation="rrc,flip", epochs=90, batch_size=256, milestones=(30, 60, 80)
    )


def small(data: str) -> Recipe2018:
    """One fixed small network, at most 2,000 training images and 6 epochs for every arm.

    fixhead paper hoffer2018 table1 --scale small --data-dir DIR
    One CPU core with nothing else to do: 3 to 10 seconds a run.
    """
    return replace(
        Recipe2018(),
        data=data,
        backbone="small-cnn",
        train_images=SMALL_IMAGES,
        augmentation="crop:4,flip" if data == "cifar10-jpeg" else "none",
        epochs=SMALL_EPOCHS,
        batch_size=32,
        schedule="cosine",
        warmup_epochs=0.5,
        milestones=(),
    )


def small_tiny() -> Recipe2018:
    """Tiny ImageNet at 32 × 32, 100 images of each class: more classes (200) than features (64).

    fixhead paper hoffer2018 repeats --scale small --data-dir DIR
    One CPU core with nothing else to do: about two minutes a run.
    """
    return replace(
        small("tiny-imagenet"),
        image_size=32,
        train_images=20_000,
        augmentation="crop:4,flip",
        epochs=10,
        batch_size=64,
        warmup_epochs=1.0,
    )


def shortened(request: Request, chosen: Recipe2018) -> Recipe2018:
    """``--epochs``: the milestones move along."""
    if request.epochs is None:
        return chosen
    share = request.epochs / chosen.epochs
    moved = {max(1, round(share * at)) for at in chosen.milestones}
    return replace(
        chosen,
        epochs=request.epochs,
        milestones=tuple(sorted(moved)),
        warmup_epochs=min(float(request.epochs), share * chosen.warmup_epochs),
    )


def option(request: Request, chosen: Recipe2018, head: str) -> tuple[Option, ...]:
    """The head's runs, a seed each."""
    seeds = range(request.seeds or SEEDS)
    return (Option("", tuple(TrainingCell(chosen, head, seed) for seed in seeds)),)


def differs(request: Request, data: str) -> tuple[str, ...]:
    """Why a run cannot be held against the paper's figure."""
    found = []
    if request.scale == "small":
        found = [
            "a smaller net: small-cnn",
            f"{SMALL_IMAGES:,} training images",
            f"{SMALL_EPOCHS} epochs",
        ]
        if data == "cifar10-jpeg":
            found.append("another data copy (JPEG)")
    if request.epochs is not None:
        found.append(f"a shorter schedule: {request.epochs} epochs")
    return tuple(found)


def accuracy_of(net: Network, arm: str, note: str = "") -> Printed:
    return recalled(net.learned if arm == LEARNED else net.fixed, note)

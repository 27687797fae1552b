"""Data, networks, arms and training of Shalev et al. 2020, at the paper's scale and a small one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...comparison.config import Choose
from ...training.recipe import Optimizer, ScheduleName
from ..cells import TrainingCell
from ..item import Option, Request
from ..recipe import PaperRecipe, code, ours, paper

NAME = "shalev2020"
SEEDS = 3
RATES = {"full": (0.1, 0.01, 0.001), "medium": (0.1, 0.01), "small": (0.1, 0.01)}
"""Learning rates of Tables 7 to 9 (0.0001 there is for STL-10 only), and the two that the
other scales keep."""
GRID = {"full": (1, 20, 40), "medium": (1, 20), "small": (1, 20)}
"""S searched for Table 3: the paper names 1, 20 and 40, and does not give its grid."""
SCALES = (1, 20, 40)
"""S of Table 4."""
TITLES = {
    "stl10": "STL-10",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "tiny-imagenet": "Tiny ImageNet",
    "mnist": "MNIST",
    "cifar10-jpeg": "CIFAR-10 (JPEG copy)",
}
NETS = {
    "preact-resnet18": "PreActResNet-18",
    "resnet18": "ResNet-18",
    "mobilenetv2": "MobileNetV2",
    "small-cnn": "small-cnn",
}
FULL_DATA = ("stl10", "cifar10", "cifar100", "tiny-imagenet")
MEDIUM = (("cifar10-jpeg", "resnet18"), ("tiny-imagenet", "resnet18"))
SMALL_DATA = ("mnist", "cifar10-jpeg")
FULL_NETS = ("preact-resnet18", "resnet18", "mobilenetv2")

MEDIUM_EPOCHS = 10

DOT = {"fixed": "random-dot", "non-fixed": "learned-dot:paired"}
RELEASED_DOT = {
    "fixed": "vectors=random:released,logits=dot,scale=1,bias=no,learn=no",
    "non-fixed": "vectors=random:released,logits=dot,scale=1,bias=yes,learn=yes",
}
RELEASED_COSINE = {
    "fixed": "vectors=random:released,logits=cosine,scale=1,bias=no,learn=no",
    "non-fixed": "vectors=random:released,logits=cosine,scale=1,bias=yes,learn=yes",
}
RELEASED_RATES = {"fixed": 0.1, "non-fixed": 0.001}
"""``LR = 0.001 if not args.fixed and not args.cosine else 0.1`` in the released run_stl.py."""

NOTES = (
    "The released code covers STL-10 with ResNet-18 only. It adds a bias that starts at 0.01 for "
    "every class and is frozen with the vectors: a constant that softmax does not see, so the "
    "fixed arm has none here. Its learned bias decays; here biases never do.",
    "The released network pools to 3 × 3 × 512 = 4,608 features; here it is the mean over "
    "positions, 512 features (64 of the small network).",
)


@dataclass(frozen=True)
class Recipe2020(PaperRecipe):
    """Section 4.1 and the released run_stl.py."""

    data: str = paper("stl10")
    backbone: str = paper("resnet18")
    augmentation: str = code("crop:10,flip")
    epochs: int = code(80)
    batch_size: int = code(32)
    optimizer: Optimizer = paper("sgd")
    momentum: float = code(0.9)
    nesterov: bool = code(True)
    lr: float = paper(0.1)
    weight_decay: float = code(5e-4)
    schedule: ScheduleName = code("plateau")
    warmup_epochs: float = ours(0.0)
    plateau_patience: int = code(3)
    plateau_factor: float = code(0.2)
    choose: Choose = ours("validation")


def full(data: str, backbone: str) -> Recipe2020:
    """The paper's scale.

    fixhead paper shalev2020 table1 --scale full --data-dir DIR
    One data-centre GPU: about a quarter of an hour a run for CIFAR, more for the larger images.
    """
    crop = {"stl10": "crop:10,flip", "tiny-imagenet": "crop:8,flip"}.get(data, "crop:4,flip")
    return replace(Recipe2020(), data=data, backbone=backbone, augmentation=crop)


def small(data: str) -> Recipe2020:
    """One fixed small network, 5,000 training images and 5 epochs, for every arm and data set.

    fixhead paper shalev2020 table1 --scale small --data-dir DIR
    One CPU core: about 15 seconds a run.
    """
    return replace(
        Recipe2020(),
        data=data,
        backbone="small-cnn",
        train_images=5_000,
        augmentation="none" if data == "mnist" else "crop:4,flip",
        epochs=5,
        batch_size=64,
        schedule="cosine",
    )


def medium(data: str) -> Recipe2020:
    """ResNet-18 as in the paper, on all images, but larger batches and few epochs in bfloat16.

    fixhead paper shalev2020 table2 --scale medium --data-dir DIR
    One H200: 32 to 100 seconds a run of CIFAR-10 beside eight others; Tiny ImageNet has not been
    timed.
    """
    return replace(
        full(data, "resnet18"),
        epochs=MEDIUM_EPOCHS,
        batch_size=256,
        schedule="cosine",
        warmup_epochs=1.0,
        precision="bf16-mixed",
        compile=True,
    )


def grid(request: Request) -> list[tuple[str, str]]:
    """(data, backbone) of every row and column of the tables."""
    if request.scale == "small":
        return [(data, "small-cnn") for data in SMALL_DATA]
    if request.scale == "medium":
        return list(MEDIUM)
    return [(data, net) for data in FULL_DATA for net in FULL_NETS]


def recipe(request: Request, data: str, net: str) -> Recipe2020:
    if request.scale == "full":
        chosen = full(data, net)
    else:
        chosen = medium(data) if request.scale == "medium" else small(data)
    return chosen if request.epochs is None else replace(chosen, epochs=request.epochs)


def differs(request: Request, data: str) -> tuple[str, ...]:
    """Why a shorter run cannot be held against the paper's figure."""
    found = []
    if request.scale == "small":
        found = ["a smaller net: small-cnn", "5,000 training images", "5 epochs"]
    if request.scale == "medium":
        found = [f"{MEDIUM_EPOCHS} epochs", "batches of 256"]
    if data == "cifar10-jpeg":
        found.append("another data copy (JPEG)")
    if request.epochs is not None:
        found.append(f"a shorter schedule: {request.epochs} epochs")
    return tuple(found)


def dot_cells(
    request: Request, data: str, net: str, arm: str, lr: float, measures: tuple[str, ...] = ()
) -> tuple[TrainingCell, ...]:
    """The dot-product arm at one learning rate, by the fair protocol."""
    chosen = replace(recipe(request, data, net), lr=lr)
    return _cells(request, chosen, DOT[arm], measures)


def cosine_cells(
    request: Request,
    data: str,
    net: str,
    arm: str,
    scale: int,
    measures: tuple[str, ...] = (),
    *,
    neck: bool = False,
) -> tuple[TrainingCell, ...]:
    """The cosine arm at S; with ``neck`` a linear map stands after the last ReLU."""
    chosen = replace(recipe(request, data, net), weight_decay=0.0)
    head = f"{'random' if arm == 'fixed' else 'learned'}-cosine@{scale}"
    if neck:
        learn = "no" if arm == "fixed" else "yes"
        head = f"vectors=random,logits=cosine,scale={scale},learn={learn},neck=linear"
    return _cells(request, chosen, head, measures)


def published_dot(
    request: Request, data: str, net: str, arm: str, lr: float | None = None
) -> tuple[TrainingCell, ...]:
    """As released: integer vectors, the arm's own learning rate, the best test epoch."""
    rate = RELEASED_RATES[arm] if lr is None else lr
    chosen = replace(_published(request, data, net), lr=rate)
    return _cells(request, chosen, RELEASED_DOT[arm], ())


def published_cosine(request: Request, data: str, net: str, arm: str) -> tuple[TrainingCell, ...]:
    chosen = replace(_published(request, data, net), weight_decay=0.0)
    return _cells(request, chosen, RELEASED_COSINE[arm], ())


def _published(request: Request, data: str, net: str) -> Recipe2020:
    return replace(recipe(request, data, net), choose="test")


def by_rate(request: Request, data: str, net: str, arm: str) -> tuple[Option, ...]:
    """The same grid of learning rates for every arm; validation chooses."""
    return tuple(
        Option(f"lr {lr:g}", dot_cells(request, data, net, arm, lr)) for lr in RATES[request.scale]
    )


def by_scale(request: Request, data: str, net: str, arm: str) -> tuple[Option, ...]:
    """The same grid of S for every arm; validation chooses."""
    return tuple(
        Option(f"S = {s}", cosine_cells(request, data, net, arm, s)) for s in GRID[request.scale]
    )


def _cells(
    request: Request, chosen: Recipe2020, head: str, measures: tuple[str, ...]
) -> tuple[TrainingCell, ...]:
    seeds = request.seeds or SEEDS
    return tuple(TrainingCell(chosen, head, seed, measures) for seed in range(seeds))

"""Data, networks, arms and training of Yang et al. 2022, at the paper's scale and a small one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...comparison.config import Choose
from ...training.recipe import Optimizer, ScheduleName
from ..cells import TrainingCell
from ..item import Option, Request
from ..recipe import PaperRecipe, code, ours

NAME = "yang2022"
SEEDS = 3
FACTORS = (0.005, 0.01, 0.02)
SMALL_FACTOR = 0.01
SMALL_DATA = ("cifar10-jpeg", "mnist")
SMALL_IMAGES = 2_000
SMALL_EPOCHS = 20
MEDIUM_EPOCHS = 60

TITLES = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "svhn-extra": "SVHN with extra",
    "stl10": "STL-10",
    "imagenet": "ImageNet, long tail",
    "cub200": "CUB-200-2011",
    "mnist": "MNIST",
    "cifar10-jpeg": "CIFAR-10 (JPEG copy)",
}
NETS = {
    "resnet32": "ResNet-32",
    "resnet32x2": "ResNet-32, double width",
    "densenet-bc-150-12": "DenseNet-BC-150-12",
    "timm:resnet50": "ResNet-50",
    "small-cnn": "small-cnn",
}

LEARNED, KAIMING = "learned", "frozen Kaiming"
ETF, ETF_CE = "frozen ETF, dot", "frozen ETF, BN neck, cross-entropy"
ETF_DR = "frozen ETF, BN neck, dot regression"
BALANCED, ETF_BALANCED = "learned, balanced softmax", "frozen ETF, BN neck, balanced softmax"

_ETF = "vectors=simplex,logits=cosine,scale=auto,neck=batchnorm"
ARMS = {
    LEARNED: "learned-dot",
    # the released "learnable" baseline of the ResNets: rows of N(0, 2/d), frozen
    KAIMING: "vectors=yang-kaiming,logits=dot,scale=1",
    # the baseline with nothing changed but its rows
    ETF: "vectors=simplex,logits=dot,scale=1",
    ETF_CE: _ETF,
    ETF_DR: f"{_ETF},loss=dot-regression:global",
    BALANCED: "vectors=linear,logits=dot,scale=1,bias=yes,learn=yes,loss=balanced-softmax",
    ETF_BALANCED: f"{_ETF},loss=balanced-softmax",
}
PUBLISHED = {
    KAIMING: ARMS[KAIMING],
    ETF_DR: "vectors=yang-simplex,logits=cosine,scale=1,neck=batchnorm,loss=dot-regression:batch",
}
"""The released comparison: both heads frozen, whatever its text calls the first."""

NOTES = (
    "Only the paper's abstract is at hand. Settings are those of the released code; accuracies "
    "marked recalled could not be looked up again.",
    "In the released code the ResNets' baseline, called learnable, is frozen too: rows of "
    "N(0, 2/d), and a bias that is left out here. Whether the paper's own baseline was frozen "
    "cannot be told from the release, so a truly learned and a frozen one are both run.",
    "One learning rate for all arms, as in the released configuration; it may suit one better than "
    "another. All images are trained on and the last epoch counts.",
    "At τ = 1 logit adjustment is balanced softmax: log n_k and log (n_k / N) differ by a number "
    "that softmax does not see. It is shown once.",
)
SMALL_NOTE = (
    "The small scale stops after 20 epochs, where no head has collapsed and one that learns "
    "faster looks better than it would at the end of a full training."
)
PUBLISHED_NOTES = (
    "As released: mixup, the epoch with the best test accuracy, the frozen baseline, a frozen ETF "
    "from a QR factorisation of uniform numbers (class 0 near −(1, …, 1)) behind a BatchNorm, "
    "target lengths from each batch's own counts. Learning rates are the same for both arms.",
)


@dataclass(frozen=True)
class Recipe2022(PaperRecipe):
    """The released configuration of long-tailed CIFAR-10 (ImbalancedLearning, 2ebb309)."""

    data: str = code("cifar10")
    imbalance: str | None = code("exp:0.01")
    backbone: str = code("resnet32")
    augmentation: str = code("crop:4,flip,mixup:1")
    choose: Choose = ours("last")
    epochs: int = code(200)
    batch_size: int = code(128)
    optimizer: Optimizer = code("sgd")
    lr: float = code(0.1)
    momentum: float = code(0.9)
    nesterov: bool = ours(False)
    weight_decay: float = code(2e-4)
    schedule: ScheduleName = code("step")
    warmup_epochs: float = code(5.0)
    milestones: tuple[int, ...] = code((160, 180))
    gamma: float = code(0.1)
    pretrained: bool = ours(False)


def full(data: str, backbone: str) -> Recipe2022:
    """The paper's scale.

    fixhead paper yang2022 long-tail --scale full --data-dir DIR
    One data-centre GPU: ResNet-32 on long-tailed CIFAR about ten minutes a run (an estimate).
    """
    # The release does not augment SVHN and STL-10, but mixes their images too.
    plain = data in ("svhn-extra", "stl10")
    augmentation = "mixup:1" if plain else "crop:4,flip,mixup:1"
    return replace(Recipe2022(), data=data, backbone=backbone, augmentation=augmentation)


def imagenet() -> Recipe2022:
    """ImageNet with a long tail: ResNet-50, 90 epochs.

    fixhead paper yang2022 long-tail --scale full --cells imagenet --data-dir DIR
    One data-centre GPU: about half a day a run (an estimate).
    """
    return replace(
        Recipe2022(),
        data="imagenet",
        imbalance="exp:0.0039",
        backbone="timm:resnet50",
        augmentation="rrc,flip,jitter:0.4:0.4:0.4,mixup:0.2",
        epochs=90,
        batch_size=1024,
        weight_decay=5e-4,
        schedule="cosine",
        milestones=(),
    )


def birds() -> Recipe2022:
    """CUB-200-2011 from ImageNet's weights; the paper's settings for it are not at hand.

    fixhead paper yang2022 fine-grained --scale full --data-dir DIR
    One data-centre GPU: about twenty minutes a run (an estimate).
    """
    return replace(
        Recipe2022(),
        data="cub200",
        imbalance=None,
        backbone="timm:resnet50",
        augmentation="rrc:0.2,flip",
        epochs=60,
        batch_size=64,
        lr=0.01,
        weight_decay=5e-4,
        schedule="cosine",
        milestones=(),
        warmup_epochs=1.0,
        pretrained=True,
    )


def medium() -> Recipe2022:
    """Long-tailed CIFAR-10 (JPEG copy), ResNet-32 and the released settings, over fewer epochs.

    fixhead paper yang2022 long-tail --scale medium --data-dir DIR
    One H200: 100 to 180 seconds a run beside eight others. The milestones and the warm-up move
    along.
    """
    chosen = full("cifar10-jpeg", "resnet32")
    chosen = shortened(Request("medium", epochs=MEDIUM_EPOCHS), chosen)
    return replace(chosen, precision="bf16-mixed", compile=True)


def small(data: str) -> Recipe2022:
    """One fixed small network, about 2,000 training images and 20 epochs for every arm.

    fixhead paper yang2022 long-tail --scale small --data-dir DIR
    One CPU core with nothing else to do: 20 to 40 seconds a run. A long tail is cut from four times
    the images, so that as many are left as in the balanced runs. No mixup: too few epochs for it.
    """
    return replace(
        Recipe2022(),
        data=data,
        train_images=SMALL_IMAGES,
        imbalance=None,
        backbone="small-cnn",
        augmentation="none" if data == "mnist" else "crop:4,flip",
        epochs=SMALL_EPOCHS,
        batch_size=32,
        schedule="cosine",
        warmup_epochs=1.0,
        milestones=(),
    )


def small_birds() -> Recipe2022:
    """CUB-200-2011 at 64 × 64 pixels, learned from nothing: a try-out, no fine-grained result.

    fixhead paper yang2022 fine-grained --scale small --data-dir DIR
    One CPU core: about four minutes a run (an estimate).
    """
    return replace(
        small("cub200"), image_size=64, train_images=None, augmentation="crop:8,flip", epochs=20
    )


def balanced(request: Request, data: str, net: str) -> Recipe2022:
    """All classes alike."""
    chosen = small(data) if request.scale == "small" else full(data, net)
    return _asked(request, replace(chosen, imbalance=None))


def long_tailed(request: Request, data: str, net: str, factor: float) -> Recipe2022:
    """An exponential tail: the last class keeps ``factor`` of the first one's images."""
    rule = f"exp:{factor:g}"
    if request.scale == "full":
        chosen = imagenet() if data == "imagenet" else full(data, net)
        return _asked(request, chosen if data == "imagenet" else replace(chosen, imbalance=rule))
    if request.scale == "medium":
        return _asked(request, replace(medium(), imbalance=rule))
    chosen = replace(small(data), train_images=4 * SMALL_IMAGES, imbalance=rule)
    if request.as_published:
        mixed = "mixup:1" if data == "mnist" else "crop:4,flip,mixup:1"
        chosen = replace(chosen, augmentation=mixed)
    return _asked(request, chosen)


def _asked(request: Request, chosen: Recipe2022) -> Recipe2022:
    if request.as_published:
        chosen = replace(chosen, choose="test")
    return shortened(request, chosen)


def shortened(request: Request, chosen: Recipe2022) -> Recipe2022:
    """``--epochs``: the milestones and the warm-up move along."""
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


def cells(
    request: Request, chosen: Recipe2022, arm: str, measures: tuple[str, ...] = ()
) -> tuple[TrainingCell, ...]:
    """The arm's runs, a seed each."""
    head = (PUBLISHED if request.as_published else ARMS)[arm]
    return tuple(
        TrainingCell(chosen, head, seed, measures) for seed in range(request.seeds or SEEDS)
    )


def option(
    request: Request, chosen: Recipe2022, arm: str, measures: tuple[str, ...] = ()
) -> tuple[Option, ...]:
    return (Option("", cells(request, chosen, arm, measures)),)


def differs(request: Request, data: str) -> tuple[str, ...]:
    """Why a run cannot be held against the paper's figure."""
    found = []
    if request.scale == "small":
        found = [
            "a smaller net: small-cnn",
            f"about {SMALL_IMAGES:,} training images",
            f"{SMALL_EPOCHS} epochs",
        ]
    elif request.scale == "medium":
        found = [f"{MEDIUM_EPOCHS} epochs"]
    elif data == "imagenet":
        found = [
            "an exponential tail, not the published list of images",
            "d = 2,048, not 4,096",
            "features of unit length, and no penalty on their length",
        ]
    if data == "cifar10-jpeg":
        found.append("another data copy (JPEG)")
    if request.epochs is not None:
        found.append(f"a shorter schedule: {request.epochs} epochs")
    return tuple(found)


def notes(request: Request, *more: str) -> tuple[str, ...]:
    """What every page says, and ``more``."""
    found = (*NOTES, SMALL_NOTE, *more) if request.scale == "small" else (*NOTES, *more)
    return (*found, *PUBLISHED_NOTES) if request.as_published else found


def place(data: str, net: str) -> str:
    return f"{TITLES[data]}, {NETS[net]}"

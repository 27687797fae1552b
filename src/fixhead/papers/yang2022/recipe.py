"""Data, networks, arms and training of Yang et al. 2022, at three scales."""

from __future__ import annotations

from ..item import Option, TrainingCell, only, training_cells
from ..recipe import (
    JPEG_COPY,
    PaperRecipe,
    PaperRequest,
    Places,
    Reduction,
    ScaleName,
    medium_scale,
    small_augmentation,
    small_scale,
    stated,
    what_differs,
)

NAME = "yang2022"
FACTORS = (0.005, 0.01, 0.02)
SMALL_FACTOR = 0.01
SMALL_IMAGES = 2_000
PLACES: Places = {
    "full": [("cifar10", "resnet32"), ("cifar100", "resnet32x2")],
    "small": [(JPEG_COPY, "small-cnn"), ("mnist", "small-cnn")],
}
"""Where collapse and convergence are looked at."""

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


LONG_TAIL = stated(
    code={
        "data": "cifar10",
        "imbalance": "exp:0.01",
        "backbone": "resnet32",
        "augmentation": "crop:4,flip,mixup:1",
        "epochs": 200,
        "batch_size": 128,
        "optimizer": "sgd",
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 2e-4,
        "schedule": "step",
        "warmup_epochs": 5.0,
        "milestones": (160, 180),
        "gamma": 0.1,
    },
    ours={"choose": "last", "nesterov": False, "pretrained": False},
)
"""The released configuration of long-tailed CIFAR-10 (ImbalancedLearning, 2ebb309)."""
SCALES: dict[ScaleName, Reduction] = {
    "small": small_scale(SMALL_IMAGES, 20, warmup_epochs=1.0, about="about "),
    "medium": medium_scale(60),
}


def full(data: str, backbone: str) -> PaperRecipe:
    """The paper's scale.

    fixhead paper yang2022 long-tail --scale full --data-dir DIR
    One data-centre GPU: ResNet-32 on long-tailed CIFAR about ten minutes a run (an estimate).
    """
    # The release does not augment SVHN and STL-10, but mixes their images too.
    plain = data in ("svhn-extra", "stl10")
    augmentation = "mixup:1" if plain else "crop:4,flip,mixup:1"
    return LONG_TAIL.changed(data=data, backbone=backbone, augmentation=augmentation)


def imagenet() -> PaperRecipe:
    """ImageNet with a long tail: ResNet-50, 90 epochs.

    fixhead paper yang2022 long-tail --scale full --cells imagenet --data-dir DIR
    One data-centre GPU: about half a day a run (an estimate).
    """
    return LONG_TAIL.changed(
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


def birds() -> PaperRecipe:
    """CUB-200-2011 from ImageNet's weights; the paper's settings for it are not at hand.

    fixhead paper yang2022 fine-grained --scale full --data-dir DIR
    One data-centre GPU: about twenty minutes a run (an estimate).
    """
    return LONG_TAIL.changed(
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


def medium() -> PaperRecipe:
    """Long-tailed CIFAR-10 (JPEG copy), ResNet-32 and the released settings, over fewer epochs.

    fixhead paper yang2022 long-tail --scale medium --data-dir DIR
    One H200: 100 to 180 seconds a run beside eight others. The milestones and the warm-up move
    along.
    """
    return SCALES["medium"].of(full(JPEG_COPY, "resnet32"))


def small(data: str) -> PaperRecipe:
    """One fixed small network, about 2,000 training images and 20 epochs for every arm.

    fixhead paper yang2022 long-tail --scale small --data-dir DIR
    One CPU core with nothing else to do: 20 to 40 seconds a run. A long tail is cut from four times
    the images, so that as many are left as in the balanced runs. No mixup: too few epochs for it.
    """
    return SCALES["small"].of(
        LONG_TAIL, data=data, imbalance=None, augmentation=small_augmentation(data)
    )


def small_birds() -> PaperRecipe:
    """CUB-200-2011 at 64 × 64 pixels, learned from nothing: a try-out, no fine-grained result.

    fixhead paper yang2022 fine-grained --scale small --data-dir DIR
    One CPU core: about four minutes a run (an estimate).
    """
    return small("cub200").changed(image_size=64, train_images=None, augmentation="crop:8,flip")


def balanced(request: PaperRequest, data: str, net: str) -> PaperRecipe:
    """All classes alike."""
    chosen = small(data) if request.scale == "small" else full(data, net)
    return _asked(request, chosen.changed(imbalance=None))


def long_tailed(request: PaperRequest, data: str, net: str, factor: float) -> PaperRecipe:
    """An exponential tail: the last class keeps ``factor`` of the first one's images."""
    rule = f"exp:{factor:g}"
    if request.scale == "full":
        chosen = imagenet() if data == "imagenet" else full(data, net)
        return _asked(request, chosen if data == "imagenet" else chosen.changed(imbalance=rule))
    if request.scale == "medium":
        return _asked(request, medium().changed(imbalance=rule))
    chosen = small(data).changed(train_images=4 * SMALL_IMAGES, imbalance=rule)
    if request.as_published:
        mixed = "mixup:1" if data == "mnist" else "crop:4,flip,mixup:1"
        chosen = chosen.changed(augmentation=mixed)
    return _asked(request, chosen)


def _asked(request: PaperRequest, chosen: PaperRecipe) -> PaperRecipe:
    if request.as_published:
        chosen = chosen.changed(choose="test")
    return chosen.as_asked(request)


def cells(
    request: PaperRequest, chosen: PaperRecipe, arm: str, measures: tuple[str, ...] = ()
) -> tuple[TrainingCell, ...]:
    """The arm's runs, a seed each."""
    head = (PUBLISHED if request.as_published else ARMS)[arm]
    return training_cells(request, chosen, head, measures)


def option(
    request: PaperRequest, chosen: PaperRecipe, arm: str, measures: tuple[str, ...] = ()
) -> tuple[Option, ...]:
    return only(cells(request, chosen, arm, measures))


def differs(request: PaperRequest, data: str) -> tuple[str, ...]:
    """Why a run cannot be held against the paper's figure."""
    other_tail = (
        "an exponential tail, not the published list of images",
        "d = 2,048, not 4,096",
        "features of unit length, and no penalty on their length",
    )
    return what_differs(request, data, SCALES, *(other_tail if data == "imagenet" else ()))


def notes(request: PaperRequest, *more: str) -> tuple[str, ...]:
    """What every page says, and ``more``."""
    said = (*NOTES, SMALL_NOTE, *more) if request.scale == "small" else (*NOTES, *more)
    return (*said, *PUBLISHED_NOTES) if request.as_published else said

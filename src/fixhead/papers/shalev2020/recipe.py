"""Data, networks, arms and training of Shalev et al. 2020, at three scales."""

from __future__ import annotations

from ..item import Option, Read, TrainingCell, measured, training_cells
from ..recipe import (
    JPEG_COPY,
    PaperRecipe,
    PaperRequest,
    Places,
    Reduction,
    ScaleName,
    long_scale,
    medium_scale,
    small_augmentation,
    small_scale,
    stated,
    what_differs,
)

NAME = "shalev2020"
RATES = {
    "full": (0.1, 0.01, 0.001), "long": (0.1, 0.01), "medium": (0.1, 0.01), "small": (0.1, 0.01)
}  # fmt: skip
"""Learning rates of Tables 7 to 9 (0.0001 there is for STL-10 only), and the two that the
other scales keep."""
S_GRID = {"full": (1, 20, 40), "medium": (1, 20), "small": (1, 20)}
"""S searched for Table 3: the paper names 1, 20 and 40, and does not give its grid."""
S_SHOWN = (1, 20, 40)
"""S of Table 4."""
SHOWN_RATE = 0.1
"""The dot arms' rate in Table 6 and in the figures, the same for both."""
SHOWN_SCALE = 20
"""The cosine arms' S in Table 6."""
predicted_cosine: Read = measured("compactness", "predicted")
"""Mean cosine of test features to the vector of the class that they are put into."""
PLACES: Places = {
    "full": [
        (data, net)
        for data in ("stl10", "cifar10", "cifar100", "tiny-imagenet")
        for net in ("preact-resnet18", "resnet18", "mobilenetv2")
    ],
    "long": [
        (JPEG_COPY, "resnet18"),
        ("tiny-imagenet", "resnet18"),
        (JPEG_COPY, "preact-resnet18"),
        (JPEG_COPY, "mobilenetv2"),
    ],
    "medium": [(JPEG_COPY, "resnet18"), ("tiny-imagenet", "resnet18")],
    "small": [("mnist", "small-cnn"), (JPEG_COPY, "small-cnn")],
}
ARMS = ("fixed", "non-fixed")

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


FULL = stated(
    paper={"data": "stl10", "backbone": "resnet18", "optimizer": "sgd", "lr": 0.1},
    code={
        "augmentation": "crop:10,flip",
        "epochs": 80,
        "batch_size": 32,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
        "schedule": "plateau",
        "plateau_patience": 3,
        "plateau_factor": 0.2,
    },
    ours={"choose": "validation", "warmup_epochs": 0.0},
)
"""Section 4.1 and the released run_stl.py."""
SCALES: dict[ScaleName, Reduction] = {
    "small": small_scale(5_000, 5, batch_size=64),
    "medium": medium_scale(10, batch_size=256, schedule="cosine", warmup_epochs=1.0),
    "long": long_scale(FULL.config.recipe.epochs, batch_size=1_024),
}


def full(data: str, backbone: str) -> PaperRecipe:
    """The paper's scale.

    fixhead paper shalev2020 table1 --scale full --data-dir DIR
    One data-centre GPU: about a quarter of an hour a run for CIFAR, more for the larger images.
    """
    crop = {"stl10": "crop:10,flip", "tiny-imagenet": "crop:8,flip"}.get(data, "crop:4,flip")
    return FULL.changed(data=data, backbone=backbone, augmentation=crop)


def small(data: str) -> PaperRecipe:
    """One fixed small network, 5,000 training images and 5 epochs, for every arm and data set.

    fixhead paper shalev2020 table1 --scale small --data-dir DIR
    One CPU core: about 15 seconds a run.
    """
    return SCALES["small"].of(FULL, data=data, augmentation=small_augmentation(data))


def medium(data: str) -> PaperRecipe:
    """ResNet-18 as in the paper, on all images, but larger batches and few epochs in bfloat16.

    fixhead paper shalev2020 table2 --scale medium --data-dir DIR
    One H200: 32 to 100 seconds a run of CIFAR-10 beside eight others; Tiny ImageNet has not been
    timed.
    """
    return SCALES["medium"].of(full(data, "resnet18"))


def long(data: str, backbone: str) -> PaperRecipe:
    """The paper's networks, 80 epochs and schedule, in batches of 1,024 and bfloat16.

    fixhead paper shalev2020 table2 --scale long --data-dir DIR
    One H200: about 42 seconds a run of CIFAR-10 with ResNet-18, at the recorded pace of a training
    by itself (an estimate). --batch-size 32 is the released code's.
    """
    small_pictures = {"image_size": 32, "augmentation": "crop:4,flip"}
    more = small_pictures if data == "tiny-imagenet" else {}
    return SCALES["long"].of(full(data, backbone), **more)


def grid(request: PaperRequest) -> list[tuple[str, str]]:
    """(data, backbone) of every row and column of the tables."""
    return list(PLACES[request.scale])


def recipe(request: PaperRequest, data: str, net: str) -> PaperRecipe:
    if request.scale in ("full", "long"):
        chosen = full(data, net) if request.scale == "full" else long(data, net)
    else:
        chosen = medium(data) if request.scale == "medium" else small(data)
    return chosen.as_asked(request)


def differs(request: PaperRequest, data: str) -> tuple[str, ...]:
    """Why a shorter run cannot be held against the paper's figure."""
    small_pictures = request.scale == "long" and data == "tiny-imagenet"
    more = ("images of 32 pixels, not 64",) if small_pictures else ()
    return what_differs(request, data, SCALES, *more, batch_size=FULL.config.recipe.batch_size)


def dot_cells(
    request: PaperRequest, data: str, net: str, arm: str, lr: float, measures: tuple[str, ...] = ()
) -> tuple[TrainingCell, ...]:
    """The dot-product arm at one learning rate, by the fair protocol."""
    chosen = recipe(request, data, net).changed(lr=lr)
    return training_cells(request, chosen, DOT[arm], measures)


def cosine_cells(
    request: PaperRequest,
    data: str,
    net: str,
    arm: str,
    scale: int,
    measures: tuple[str, ...] = (),
    *,
    neck: bool = False,
) -> tuple[TrainingCell, ...]:
    """The cosine arm at S; with ``neck`` a linear map stands after the last ReLU."""
    chosen = recipe(request, data, net).changed(weight_decay=0.0)
    head = f"{'random' if arm == 'fixed' else 'learned'}-cosine@{scale}"
    if neck:
        learn = "no" if arm == "fixed" else "yes"
        head = f"vectors=random,logits=cosine,scale={scale},learn={learn},neck=linear"
    return training_cells(request, chosen, head, measures)


def published_dot(
    request: PaperRequest, data: str, net: str, arm: str, lr: float | None = None
) -> tuple[TrainingCell, ...]:
    """As released: integer vectors, the arm's own learning rate, the best test epoch."""
    rate = RELEASED_RATES[arm] if lr is None else lr
    chosen = _published(request, data, net).changed(lr=rate)
    return training_cells(request, chosen, RELEASED_DOT[arm])


def published_cosine(
    request: PaperRequest, data: str, net: str, arm: str
) -> tuple[TrainingCell, ...]:
    chosen = _published(request, data, net).changed(weight_decay=0.0)
    return training_cells(request, chosen, RELEASED_COSINE[arm])


def _published(request: PaperRequest, data: str, net: str) -> PaperRecipe:
    return recipe(request, data, net).changed(choose="test")


def by_rate(request: PaperRequest, data: str, net: str, arm: str) -> tuple[Option, ...]:
    """The same grid of learning rates for every arm; validation chooses."""
    return tuple(
        Option(f"lr {lr:g}", dot_cells(request, data, net, arm, lr)) for lr in RATES[request.scale]
    )


def by_scale(request: PaperRequest, data: str, net: str, arm: str) -> tuple[Option, ...]:
    """The same grid of S for every arm; validation chooses."""
    return tuple(
        Option(f"S = {s}", cosine_cells(request, data, net, arm, s)) for s in S_GRID[request.scale]
    )

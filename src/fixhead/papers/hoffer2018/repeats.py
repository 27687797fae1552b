"""More classes than features: the released Hadamard rows repeat. As published, and repaired.

Ten classes cannot show it, so 200 synthetic classes are trained on besides Tiny ImageNet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..._seeds import forked, stream
from ...geometry.certificate import certify
from ...heads.as_released import hadamard
from ...heads.head import ClassificationHead
from ...runs.records import Record
from ..item import (
    Claim,
    ComputedCell,
    Content,
    Item,
    LoadContext,
    Option,
    TableEntry,
    computed,
    computed_cells,
    only,
    read_test_accuracy,
)
from ..recipe import PaperRecipe, PaperRequest, place
from .recipe import NAME, NOTES, full, option, small_tiny

SIZES = ((10, 64), (100, 64), (200, 64), (100, 342), (1000, 512), (1000, 960))
"""(K, d): two of the paper's, which it never went beyond, and four that it did not try."""

PUBLISHED, PROJECTION = "Hadamard, as released", "projection, as released"
CODES, WIDER, LEARNED = "repaired: low-coherence codes", "repaired: Hadamard behind 4 d", "learned"
ARMS = {
    LEARNED: "learned-dot",
    PUBLISHED: "hoffer-hadamard",
    PROJECTION: "hoffer-projection",
    CODES: "vectors=codes,logits=cosine,scale=learned,bias=yes",
    WIDER: "vectors=hadamard,logits=cosine,scale=learned,bias=yes,neck=linear:256",
}
CLASSES, FEATURES = 200, 64


def facts(load: LoadContext, seed: int, *, classes: int, features: int) -> Record:
    """Distinct rows of the released matrix, and the best accuracy that they leave room for.

    Classes that share a row are told apart by the bias alone, and a bias is the same for every
    image: of c classes with one row, balanced, at most one is ever right. So the ceiling is
    distinct / K.
    """
    rows = hadamard(classes, features, stream(seed, "unused"), torch.float64)
    distinct = len(torch.unique(rows, dim=0))
    cosine = float(certify(normalize(rows, dim=1)).cosine_max)
    return {"distinct": distinct, "ceiling": distinct / classes, "max_cosine": cosine}


# --- synthetic classes ----------------------------------------------------------------------------

SIZE, EACH, NOISE = 32, 30, 1.0
BATCH, RATE = 100, 0.1


@dataclass(frozen=True)
class SyntheticData:
    """Points (N, SIZE) for training and for the test, labels (N,) of both."""

    train: Tensor
    test: Tensor
    labels: Tensor


def synthetic_classes(draws: torch.Generator, classes: int) -> SyntheticData:
    """Gaussians around centres c_k ~ N(0, I): x = c_k + ``NOISE`` · N(0, I)."""
    centres = torch.randn(classes, SIZE, generator=draws)
    labels = torch.arange(classes).repeat_interleave(EACH)

    def points() -> Tensor:
        return centres[labels] + NOISE * torch.randn(len(labels), SIZE, generator=draws)

    return SyntheticData(points(), points(), labels)


def synthetic(load: LoadContext, seed: int, *, head: str, epochs: int) -> Record:
    """Accuracy of ``head`` on synthetic classes: K = 200 behind d = 64 features."""
    data = synthetic_classes(stream(seed, "made"), CLASSES)
    with forked(seed, "backbone"):
        body = nn.Sequential(
            nn.Linear(SIZE, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU(),
            nn.Linear(128, FEATURES, bias=False), nn.BatchNorm1d(FEATURES), nn.ReLU(),
        )  # fmt: skip
    generator = stream(seed, "vectors")
    classifier = ClassificationHead.from_preset(head, FEATURES, CLASSES, generator=generator)
    return _train_and_test(body, classifier, data, epochs=epochs, order=stream(seed, "order"))


def _train_and_test(
    body: nn.Module,
    head: ClassificationHead,
    data: SyntheticData,
    *,
    epochs: int,
    order: torch.Generator,
) -> Record:
    """SGD with momentum 0.9, cosine schedule; accuracy on the training and on the test points."""
    weights = [*body.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(weights, RATE, momentum=0.9, weight_decay=1e-4)
    body.train(), head.train()
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = 0.5 * RATE * (1 + math.cos(math.pi * epoch / epochs))
        shuffled = torch.randperm(len(data.labels), generator=order)
        for batch in torch.split(shuffled, BATCH):
            optimizer.zero_grad()
            torch.autograd.backward(head.loss(body(data.train[batch]), data.labels[batch]))
            optimizer.step()
    body.eval(), head.eval()
    with torch.no_grad():
        return {
            f"{part}_accuracy": float(
                (head(body(points)).argmax(dim=1) == data.labels).double().mean()
            )
            for part, points in (("train", data.train), ("test", data.test))
        }


# --- the item -------------------------------------------------------------------------------------


def repeats(request: PaperRequest) -> Content:
    """Distinct rows and ceilings, exactly; then trained heads. K = 200 behind d = 64.

    fixhead paper hoffer2018 repeats --scale small --data-dir DIR
    One CPU core: half an hour; ``--cells made,facts`` needs no data and two minutes. Full:
    CIFAR-100 and Tiny ImageNet behind ResNet-32, a GPU.
    """
    entries = _facts()
    claims: list[Claim] = []
    for where, options, recipe in _trained(request):
        read = computed("test_accuracy") if recipe is None else read_test_accuracy
        by_arm = {arm: TableEntry(where, arm, option_, read) for arm, option_ in options.items()}
        entries += by_arm.values()
        claims += [
            Claim(f"{where}: {arm}, above the released Hadamard rows", by_arm[arm],
                  by_arm[PUBLISHED])
            for arm in (CODES, WIDER, PROJECTION, LEARNED)
        ]  # fmt: skip
        claims.append(Claim(f"{where}: learned above the codes", by_arm[LEARNED], by_arm[CODES]))
    notes = (
        *NOTES[1:],
        "Made classes: 200 Gaussians in 32 dimensions, 30 training and 30 test points each, behind "
        "a network of two layers (128, then 64 features after a ReLU); drawn anew for each seed.",
        "The released matrix is [:K, :d] of a larger Hadamard matrix: its rows repeat with period "
        "2^⌈log₂ d⌉. None of the paper's networks has so many classes.",
    )
    return Content(entries, claims, notes=notes)


def _facts() -> list[TableEntry]:
    entries = []
    columns: dict[str, tuple[str, Any]] = {
        "distinct rows": ("distinct", "number"),
        "best possible accuracy": ("ceiling", "percent"),
        "largest cosine of two rows": ("max_cosine", "number"),
    }
    for classes, features in SIZES:
        cell = ComputedCell(facts, (("classes", classes), ("features", features)))
        entries += [
            TableEntry(f"released Hadamard rows, K = {classes}, d = {features}", words,
                       only([cell]), computed(key), unit=unit,
                       where=f"K = {classes}, d = {features}", arm="released Hadamard rows",
                       metric=words)
            for words, (key, unit) in columns.items()
        ]  # fmt: skip
    return entries


def _trained(
    request: PaperRequest,
) -> list[tuple[str, dict[str, tuple[Option, ...]], PaperRecipe | None]]:
    """(where, the runs by arm, the recipe where there is one)."""
    if request.scale == "full":
        recipes = {
            f"{place(data, 'resnet32')}, d = 64": full(data, "resnet32")
            for data in ("cifar100", "tiny-imagenet")
        }
    else:
        recipes = {"Tiny ImageNet at 32 pixels, small-cnn, d = 64": small_tiny()}
    trained: list[tuple[str, dict[str, tuple[Option, ...]], PaperRecipe | None]] = []
    for where, recipe in recipes.items():
        chosen = recipe.as_asked(request)
        options = {arm: option(request, chosen, head) for arm, head in ARMS.items()}
        trained.append((where, options, chosen))
    if request.scale == "full":
        return trained
    epochs = 20 if request.epochs is None else min(20, request.epochs)
    options = {
        arm: only(computed_cells(request, synthetic, f"{__name__}.made", head=head, epochs=epochs))
        for arm, head in ARMS.items()
    }
    return [(f"made classes, K = {CLASSES}, d = {FEATURES}", options, None), *trained]


ITEMS = (
    Item(NAME, "repeats", "More classes than features: Hadamard rows, released and repaired",
         repeats),
)  # fmt: skip

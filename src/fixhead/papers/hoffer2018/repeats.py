"""More classes than features: the released Hadamard rows repeat. As published, and repaired."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize

from ..._seeds import forked, stream
from ...geometry import certify
from ...heads import ClassificationHead
from ...heads.as_released import hadamard
from ...runs.records import Record
from ..cells import ComputedCell, LoadSetting
from ..item import Claim, Content, Entry, Item, Option, Request
from .made import made_classes, train_and_test
from .recipe import NAME, NOTES, SEEDS, TITLES, full, option, shortened, small_tiny
from .table import test_accuracy

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


def facts(load: LoadSetting, seed: int, *, classes: int, features: int) -> Record:
    """Distinct rows of the released matrix, and the best accuracy that they leave room for.

    Classes that share a row are told apart by the bias alone, and a bias is the same for every
    image: of c classes with one row, balanced, at most one is ever right. So the ceiling is
    distinct / K.
    """
    rows = hadamard(classes, features, stream(seed, "unused"), torch.float64)
    distinct = len(torch.unique(rows, dim=0))
    cosine = float(certify(normalize(rows, dim=1)).cosine_max)
    return {"distinct": distinct, "ceiling": distinct / classes, "max_cosine": cosine}


def made(load: LoadSetting, seed: int, *, head: str, epochs: int) -> Record:
    """Test accuracy of ``head`` on made classes: K = 200 behind d = 64 features."""
    data = made_classes(stream(seed, "made"), CLASSES)
    with forked(seed, "backbone"):
        body = nn.Sequential(
            nn.Linear(data.size, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU(),
            nn.Linear(128, FEATURES, bias=False), nn.BatchNorm1d(FEATURES), nn.ReLU(),
        )  # fmt: skip
    generator = stream(seed, "vectors")
    classifier = ClassificationHead.from_preset(head, FEATURES, CLASSES, generator=generator)
    return train_and_test(body, classifier, data, epochs=epochs, order=stream(seed, "order"))


def repeats(request: Request) -> Content:
    """Distinct rows and ceilings, exactly; then trained heads. K = 200 behind d = 64.

    fixhead paper hoffer2018 repeats --scale small --data-dir DIR
    One CPU core: half an hour; ``--cells made,facts`` needs no data and two minutes. Full:
    CIFAR-100 and Tiny ImageNet behind ResNet-32, a GPU.
    """
    entries = _facts()
    claims: list[Claim] = []
    recipes = {}
    for where, options, chosen in _trained(request):
        own = {
            arm: Entry(where, arm, given, _made_accuracy if chosen is None else test_accuracy)
            for arm, given in options.items()
        }
        entries += own.values()
        if chosen is not None:
            recipes[where] = chosen
        claims += [
            Claim(f"{where}: {arm}, above the released Hadamard rows", own[arm], own[PUBLISHED])
            for arm in (CODES, WIDER, PROJECTION, LEARNED)
        ]
        claims.append(Claim(f"{where}: learned above the codes", own[LEARNED], own[CODES]))
    notes = (
        *NOTES[1:],
        "Made classes: 200 Gaussians in 32 dimensions, 30 training and 30 test points each, behind "
        "a network of two layers (128, then 64 features after a ReLU); drawn anew for each seed.",
        "The released matrix is [:K, :d] of a larger Hadamard matrix: its rows repeat with period "
        "2^⌈log₂ d⌉. None of the paper's networks has so many classes.",
    )
    return Content(entries, claims, recipes=recipes, notes=notes)


def _facts() -> list[Entry]:
    entries = []
    columns: dict[str, tuple[str, Any]] = {
        "distinct rows": ("distinct", "number"),
        "best possible accuracy": ("ceiling", "percent"),
        "largest cosine of two rows": ("max_cosine", "number"),
    }
    for classes, features in SIZES:
        cell = ComputedCell(facts, (("classes", classes), ("features", features)))
        entries += [
            Entry(f"released Hadamard rows, K = {classes}, d = {features}", words,
                  (Option("", (cell,)),), _found(key), unit=unit)
            for words, (key, unit) in columns.items()
        ]  # fmt: skip
    return entries


def _trained(request: Request) -> list[tuple[str, dict[str, tuple[Option, ...]], Any]]:
    """(where, the runs by arm, the recipe where there is one)."""
    found: list[tuple[str, dict[str, tuple[Option, ...]], Any]] = []
    if request.scale == "full":
        wanted = {f"{TITLES[data]}, ResNet-32, d = 64": full(data, "resnet32")
                  for data in ("cifar100", "tiny-imagenet")}  # fmt: skip
    else:
        wanted = {f"{TITLES['tiny-imagenet']} at 32 pixels, small-cnn, d = 64": small_tiny()}
    for where, recipe in wanted.items():
        chosen = shortened(request, recipe)
        found.append(
            (where, {arm: option(request, chosen, head) for arm, head in ARMS.items()}, chosen)
        )
    if request.scale == "full":
        return found
    epochs = 20 if request.epochs is None else min(20, request.epochs)
    seeds = range(request.seeds or SEEDS)
    options: dict[str, tuple[Option, ...]] = {}
    for arm, head in ARMS.items():
        arguments = (("head", head), ("epochs", epochs))
        own = tuple(ComputedCell(made, arguments, seed) for seed in seeds)
        options[arm] = (Option("", own),)
    return [(f"made classes, K = {CLASSES}, d = {FEATURES}", options, None), *found]


def _found(key: str) -> Any:
    return lambda row: float(row["found"][key])


def _made_accuracy(row: Record) -> float:
    return float(row["found"]["test_accuracy"])


ITEMS = (
    Item(NAME, "repeats", "More classes than features: Hadamard rows, released and repaired",
         repeats),
)  # fmt: skip

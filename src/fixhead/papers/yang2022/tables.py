"""Long tails, balanced classes, fine-grained classes: test accuracies."""

from __future__ import annotations

from ...runs.records import Record
from ..item import Claim, Content, Entry, Item, Request
from ..printed import Printed
from . import figures
from .recipe import (
    ARMS,
    BALANCED,
    ETF,
    ETF_BALANCED,
    ETF_CE,
    ETF_DR,
    FACTORS,
    KAIMING,
    LEARNED,
    NAME,
    PUBLISHED,
    SMALL_DATA,
    SMALL_FACTOR,
    Recipe2022,
    balanced,
    birds,
    differs,
    long_tailed,
    notes,
    option,
    place,
    shortened,
    small_birds,
)

FULL = (
    ("cifar10", "resnet32"),
    ("cifar100", "resnet32x2"),
    ("svhn-extra", "resnet32"),
    ("stl10", "resnet32"),
    ("cifar10", "densenet-bc-150-12"),
    ("cifar100", "densenet-bc-150-12"),
)
SHOWN = {LEARNED: 0, KAIMING: 0, ETF_DR: 1}
"""Beside which of the paper's two columns an arm stands."""


def test_accuracy(row: Record) -> float:
    return float(row["test_accuracy"])


def few_accuracy(row: Record) -> float | None:
    """Mean accuracy of the classes with the fewest training images (three of ten)."""
    found = row.get("group_accuracy")
    return None if found is None else found.get("few")


def tails(request: Request) -> list[tuple[str, str, float]]:
    """(data, network, factor) of every row."""
    if request.scale == "small":
        data = SMALL_DATA[:1] if request.as_published else SMALL_DATA
        return [(one, "small-cnn", SMALL_FACTOR) for one in data]
    if request.scale == "medium":
        return [("cifar10-jpeg", "resnet32", SMALL_FACTOR)]
    found = [(data, net, factor) for data, net in FULL for factor in FACTORS]
    return [*found, ("imagenet", "timm:resnet50", 0.0039)]


def long_tail(request: Request) -> Content:
    """Exponential tails: which frozen head, which loss, and which baseline.

    Small: about 20 minutes of one CPU core; as published: six.
    """
    entries: list[Entry] = []
    claims: list[Claim] = []
    recipes = {}
    for data, net, factor in tails(request):
        where = f"{place(data, net)}, tail {factor:g}"
        chosen = long_tailed(request, data, net, factor)
        recipes[where] = chosen
        own = {arm: _entry(request, chosen, where, arm, factor, net) for arm in _arms(request)}
        entries += own.values()
        entries += [_few(request, chosen, where, arm) for arm in own]
        claims += _claims(where, own)
    return Content(entries, claims, recipes=recipes, notes=notes(request))


def _arms(request: Request) -> list[str]:
    if request.as_published:
        return list(PUBLISHED)
    # The last one at the full scale only: the others have room for six.
    return [arm for arm in ARMS if arm != ETF_BALANCED or request.scale == "full"]


def _entry(
    request: Request, chosen: Recipe2022, where: str, arm: str, factor: float, net: str
) -> Entry:
    printed = None
    if arm in SHOWN:
        printed = figures.printed(chosen.data, net, factor, SHOWN[arm])
    return Entry(
        where, arm, option(request, chosen, arm), test_accuracy, printed,
        differs=differs(request, chosen.data),
    )  # fmt: skip


def _few(request: Request, chosen: Recipe2022, where: str, arm: str) -> Entry:
    return Entry(f"{where}: rarest classes", arm, option(request, chosen, arm), few_accuracy)


def _claims(where: str, own: dict[str, Entry]) -> list[Claim]:
    pairs = [
        (ETF_DR, LEARNED, "the paper: ETF with dot regression above the learned head"),
        (ETF_DR, KAIMING, "the released comparison: ETF with dot regression above frozen Kaiming"),
        (LEARNED, KAIMING, "is the baseline better when it is truly learned?"),
        (ETF, KAIMING, "the baseline's frozen rows, an ETF above Kaiming"),
        (ETF, LEARNED, "the baseline with frozen ETF rows above the learned head"),
        (ETF_DR, ETF_CE, "on the same ETF, dot regression above cross-entropy"),
        (BALANCED, ETF_DR, "a strong baseline, balanced softmax, above ETF with dot regression"),
        (ETF_BALANCED, BALANCED, "balanced softmax, frozen ETF above learned"),
    ]
    return [
        Claim(f"{where}; {words}", own[first], own[second])
        for first, second, words in pairs
        if first in own and second in own
    ]


def balanced_classes(request: Request) -> Content:
    """Classes alike: the paper claims similar accuracies.

    Small: about ten minutes of one CPU core.
    """
    places = [(data, "small-cnn") for data in SMALL_DATA]
    if request.scale == "full":
        places = [*FULL[:2], *FULL[4:]]
    named = {place(data, net): balanced(request, data, net) for data, net in places}
    return _similar(request, named, figures.ABSTRACT_ONLY)


def fine_grained(request: Request) -> Content:
    """CUB-200-2011: the paper claims a significant improvement."""
    chosen = small_birds() if request.scale == "small" else birds()
    where = "CUB-200-2011, small-cnn at 64 pixels"
    where = where if request.scale == "small" else "CUB-200-2011, ResNet-50"
    return _similar(request, {where: shortened(request, chosen)}, figures.ABSTRACT_ONLY)


def _similar(request: Request, named: dict[str, Recipe2022], printed: Printed) -> Content:
    entries: list[Entry] = []
    claims: list[Claim] = []
    for where, chosen in named.items():
        own = {
            arm: Entry(where, arm, option(request, chosen, arm), test_accuracy,
                       printed if arm in SHOWN else None)
            for arm in (LEARNED, ETF_CE, ETF_DR)
        }  # fmt: skip
        entries += own.values()
        claims += [
            Claim(f"{where}: {arm} above learned", own[arm], own[LEARNED])
            for arm in (ETF_DR, ETF_CE)
        ]
    return Content(entries, claims, recipes=named, notes=notes(request))


ITEMS = (
    Item(
        NAME,
        "long-tail",
        "Long tails: learned, frozen and ETF heads",
        long_tail,
        ("full", "medium", "small"),
        published=True,
    ),
    Item(NAME, "balanced", "Balanced classes: learned and ETF heads", balanced_classes),
    Item(NAME, "fine-grained", "Fine-grained classes: learned and ETF heads", fine_grained),
)

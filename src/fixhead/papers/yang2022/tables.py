"""Long tails, balanced and fine-grained classes: test accuracies, and neural collapse."""

from __future__ import annotations

from statistics import mean

from ...runs.records import Record
from ..item import (
    Claim,
    Content,
    Item,
    Printed,
    TableEntry,
    measured,
    percent,
    read_test_accuracy,
    recalled,
)
from ..recipe import JPEG_COPY, PaperRecipe, PaperRequest, place
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
    PLACES,
    PUBLISHED,
    SMALL_FACTOR,
    balanced,
    birds,
    differs,
    long_tailed,
    notes,
    option,
    small_birds,
)

# --- the paper's accuracies in per cent -----------------------------------------------------------
# Learned with cross-entropy, then ETF with dot regression. Only its abstract is at hand: the
# ResNets' figures are recalled, unverified; DenseNet's are those that issue 5 of the released code
# quotes from the paper.

RESNET: dict[str, dict[float, tuple[float, float]]] = {
    "cifar10": {0.005: (67.3, 71.9), 0.01: (72.8, 76.5), 0.02: (78.6, 81.0)},
    "cifar100": {0.005: (38.7, 40.9), 0.01: (43.0, 45.3), 0.02: (48.1, 50.5)},
    "svhn-extra": {0.005: (40.5, 42.8), 0.01: (40.9, 45.7), 0.02: (49.3, 49.8)},
    "stl10": {0.005: (33.1, 33.5), 0.01: (37.9, 37.2), 0.02: (38.8, 37.9)},
}
DENSENET: dict[float, tuple[float, float]] = {0.01: (43.08, 44.0), 0.02: (49.07, 49.8)}
OUTSIDE: dict[float, tuple[str, str]] = {
    0.01: ("44.66 ± 0.24", "43.02 ± 0.56"),
    0.02: ("50.57 ± 0.46", "48.45 ± 0.10"),
}
"""Issue 5's own three seeds with DenseNet on CIFAR-100, where the baseline is really learned."""

IMAGENET: tuple[float, float] = (44.3, 44.7)
ABSTRACT_ONLY = Printed(None, "missing", "not at hand: we have the abstract only")
BESIDE = {JPEG_COPY: "cifar10"}
"""Whose figure stands beside a data set that the paper does not have."""


def printed_accuracy(data: str, net: str, factor: float, arm: int) -> Printed | None:
    """``arm`` 0: learned (or what the paper calls so); 1: ETF with dot regression."""
    if data == "imagenet":
        return recalled(IMAGENET[arm])
    if net.startswith("densenet"):
        if data != "cifar100" or factor not in DENSENET:
            return ABSTRACT_ONLY
        outside = f"quoted in an issue, which itself got {OUTSIDE[factor][arm]}"
        return percent(DENSENET[factor][arm], outside)
    known = RESNET.get(BESIDE.get(data, data), {}).get(factor)
    if known is None:
        return None
    return recalled(known[arm], "CIFAR-10, ResNet-32" if data in BESIDE else "")


# --- accuracies -----------------------------------------------------------------------------------

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


def few_accuracy(row: Record) -> float | None:
    """Mean accuracy of the classes with the fewest training images (three of ten)."""
    groups = row.get("group_accuracy")
    return None if groups is None else groups.get("few")


def tails(request: PaperRequest) -> list[tuple[str, str, float]]:
    """(data, network, factor) of every row."""
    if request.scale == "small":
        places = PLACES["small"][:1] if request.as_published else PLACES["small"]
        return [(*one, SMALL_FACTOR) for one in places]
    if request.scale == "medium":
        return [(JPEG_COPY, "resnet32", SMALL_FACTOR)]
    rows = [(data, net, factor) for data, net in FULL for factor in FACTORS]
    return [*rows, ("imagenet", "timm:resnet50", 0.0039)]


def long_tail(request: PaperRequest) -> Content:
    """Exponential tails: which frozen head, which loss, and which baseline.

    Small: about 20 minutes of one CPU core; as published: six.
    """
    entries: list[TableEntry] = []
    claims: list[Claim] = []
    for data, net, factor in tails(request):
        where = f"{place(data, net)}, tail {factor:g}"
        chosen = long_tailed(request, data, net, factor)
        by_arm = {arm: _entry(request, chosen, where, arm, factor, net) for arm in _arms(request)}
        entries += by_arm.values()
        entries += [_few(request, chosen, where, arm) for arm in by_arm]
        claims += _claims(where, by_arm)
    return Content(entries, claims, notes=notes(request))


def _arms(request: PaperRequest) -> list[str]:
    if request.as_published:
        return list(PUBLISHED)
    # The last one at the full scale only: the others have room for six.
    return [arm for arm in ARMS if arm != ETF_BALANCED or request.scale == "full"]


def _entry(
    request: PaperRequest, chosen: PaperRecipe, where: str, arm: str, factor: float, net: str
) -> TableEntry:
    printed = None
    if arm in SHOWN:
        printed = printed_accuracy(chosen.config.data, net, factor, SHOWN[arm])
    return TableEntry(
        where, arm, option(request, chosen, arm), read_test_accuracy, printed,
        differs=differs(request, chosen.config.data),
    )  # fmt: skip


def _few(request: PaperRequest, chosen: PaperRecipe, where: str, arm: str) -> TableEntry:
    return TableEntry(
        f"{where}: rarest classes", arm, option(request, chosen, arm), few_accuracy,
        where=where, metric="test accuracy of the rarest classes",
    )  # fmt: skip


def _claims(where: str, by_arm: dict[str, TableEntry]) -> list[Claim]:
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
        Claim(f"{where}; {words}", by_arm[first], by_arm[second])
        for first, second, words in pairs
        if first in by_arm and second in by_arm
    ]


def balanced_classes(request: PaperRequest) -> Content:
    """Classes alike: the paper claims similar accuracies.

    Small: about ten minutes of one CPU core.
    """
    places = [*FULL[:2], *FULL[4:]] if request.scale == "full" else PLACES["small"]
    named = {place(data, net): balanced(request, data, net) for data, net in places}
    return _similar(request, named, ABSTRACT_ONLY)


def fine_grained(request: PaperRequest) -> Content:
    """CUB-200-2011: the paper claims a significant improvement."""
    chosen = small_birds() if request.scale == "small" else birds()
    where = "CUB-200-2011, small-cnn at 64 pixels"
    where = where if request.scale == "small" else "CUB-200-2011, ResNet-50"
    return _similar(request, {where: chosen.as_asked(request)}, ABSTRACT_ONLY)


def _similar(request: PaperRequest, named: dict[str, PaperRecipe], printed: Printed) -> Content:
    entries: list[TableEntry] = []
    claims: list[Claim] = []
    for where, chosen in named.items():
        by_arm = {
            arm: TableEntry(where, arm, option(request, chosen, arm), read_test_accuracy,
                            printed if arm in SHOWN else None)
            for arm in (LEARNED, ETF_CE, ETF_DR)
        }  # fmt: skip
        entries += by_arm.values()
        claims += [
            Claim(f"{where}: {arm} above learned", by_arm[arm], by_arm[LEARNED])
            for arm in (ETF_DR, ETF_CE)
        ]
    return Content(entries, claims, notes=notes(request))


# --- neural collapse ------------------------------------------------------------------------------

COLLAPSE_ARMS = (LEARNED, ETF_CE, ETF_DR)
MEASURE = "training-collapse"
COLUMNS = {
    "nc1": "NC1, variability within classes",
    "equiangularity_deviation": "NC2, deviation of class means' cosines from −1/(K−1)",
    "self_duality": "NC3, distance of class means from class vectors",
}


def collapse(request: PaperRequest) -> Content:
    """NC1 to NC3 of the training images after the last epoch, balanced and with a long tail.

    Small: no run of its own, it measures those of ``balanced`` and ``long-tail``.
    """
    entries: list[TableEntry] = []
    claims: list[Claim] = []
    for data, net in PLACES[request.scale]:
        chosen = {
            "balanced": balanced(request, data, net),
            f"tail {SMALL_FACTOR:g}": long_tailed(request, data, net, SMALL_FACTOR),
        }
        for words, recipe in chosen.items():
            where = f"{place(data, net)}, {words}"
            by_arm = {
                (arm, key): TableEntry(
                    f"{where}: {column}",
                    arm,
                    option(request, recipe, arm, (MEASURE,)),
                    measured(MEASURE, key),
                    unit="number",
                    where=where,
                    metric=column,
                )
                for key, column in COLUMNS.items()
                for arm in COLLAPSE_ARMS
            }
            entries += by_arm.values()
            claims += [
                Claim(
                    f"{where}: class means lie nearer to the vectors (NC3) with {arm}",
                    by_arm[LEARNED, "self_duality"],
                    by_arm[arm, "self_duality"],
                )
                for arm in (ETF_CE, ETF_DR)
            ]
            if words != "balanced":
                entries += [
                    TableEntry(f"{where}: mean cosine between the rarest classes' vectors", arm,
                               option(request, recipe, arm, (MEASURE,)), rare_cosine, unit="number",
                               where=where, metric="mean cosine between the rarest vectors")
                    for arm in COLLAPSE_ARMS
                ]  # fmt: skip
    note = (
        "Measured on the training images without augmentation, every class of equal weight. Of "
        "features for the learned head (dot logits), of their directions for the others: NC1 of "
        "the two cannot be compared. All of them are 0 under full collapse; a few epochs do not "
        "reach it."
    )
    return Content(entries, claims, notes=notes(request, note))


def rare_cosine(row: Record) -> float | None:
    """Learned vectors of rare classes run together ("minority collapse"); an ETF's cannot."""
    rare, cosines = row.get("groups", {}).get("few", ()), row["geometry"]["class_cosines"]
    pairs = [cosines[i][j] for i in rare for j in rare if i < j]
    return mean(pairs) if pairs else None


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
    Item(NAME, "collapse", "Neural collapse, balanced and under a long tail", collapse),
)

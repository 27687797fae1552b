"""Tables 1 to 9."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import mean

from ...data.corruptions.tables import PAPER
from ...runs.records import Record
from ..item import (
    NOT_AT_HAND,
    NOT_CONVERGED,
    Claim,
    Content,
    Item,
    Option,
    Printed,
    Read,
    TableEntry,
    TrainingCell,
    measured,
    only,
    percent,
    read_test_accuracy,
)
from ..recipe import DATA_TITLES, PaperRequest, ScaleName, place
from . import printed as paper
from .recipe import (
    ARMS,
    NAME,
    NOTES,
    RATES,
    S_SHOWN,
    SHOWN_RATE,
    SHOWN_SCALE,
    by_rate,
    by_scale,
    cosine_cells,
    differs,
    dot_cells,
    grid,
    predicted_cosine,
    published_cosine,
    published_dot,
)

on_cifar10_1: Read = measured("cifar10.1", "accuracy")


def table1(request: PaperRequest) -> Content:
    """Dot logits: the learning rate of each arm chosen on validation from the same grid; as
    published: the released rates, 0.1 fixed and 0.001 not."""

    def options(data: str, net: str, arm: str) -> tuple[Option, ...]:
        if request.as_published:
            return only(published_dot(request, data, net, arm))
        return by_rate(request, data, net, arm)

    return _fixed_or_not(request, paper.TABLE1, options, "dot logits")


def table2(request: PaperRequest) -> Content:
    """Cosine logits at S = 1."""

    def options(data: str, net: str, arm: str) -> tuple[Option, ...]:
        if request.as_published:
            return only(published_cosine(request, data, net, arm))
        return only(cosine_cells(request, data, net, arm, 1))

    return _fixed_or_not(request, paper.TABLE2, options, "cosine logits at S = 1")


def table3(request: PaperRequest) -> Content:
    """Cosine logits, S of each arm chosen on validation from the same grid."""

    def options(data: str, net: str, arm: str) -> tuple[Option, ...]:
        return by_scale(request, data, net, arm)

    return _fixed_or_not(request, paper.TABLE3, options, "cosine logits at the best S")


def table4(request: PaperRequest) -> Content:
    """Mean cosine of test features to the predicted class's vector, non-fixed, by S."""
    entries = [
        TableEntry(
            place(data, net),
            f"S = {s}",
            only(cosine_cells(request, data, net, "non-fixed", s, ("compactness",))),
            predicted_cosine,
            NOT_AT_HAND,
            "number",
            differs=differs(request, data),
            arm=f"non-fixed, S = {s}",
            metric="cosine to the predicted class's vector",
        )
        for data, net in grid(request)
        for s in S_SHOWN
    ]
    by_place = {(entry.row, entry.column): entry for entry in entries}
    claims = [
        Claim(
            f"{row}: the cosine to the predicted vector falls as S grows (1 above 40)",
            by_place[row, "S = 1"],
            by_place[row, "S = 40"],
        )
        for row in dict.fromkeys(entry.row for entry in entries)
    ]
    return Content(entries, claims, notes=NOTES)


def table5(request: PaperRequest) -> Content:
    """Generalisation sets; only CIFAR-10.1 is public."""
    entries = []
    for data, (title, pairs) in paper.TABLE5.items():
        for logits, values in zip(("dot", "cosine"), pairs, strict=True):
            for at, arm in enumerate(ARMS):
                options, printed = only(()), _percent(values[at])
                if data == "cifar10":
                    cells = _cells_of(request, data, "resnet18", logits, arm, ("cifar10.1",))
                    options = only(cells)
                else:
                    printed = Printed(printed.value, "paper", "the set was never released")
                entries.append(
                    TableEntry(
                        f"{DATA_TITLES[data]} → {title}",
                        f"{logits}, {arm}",
                        options,
                        on_cifar10_1,
                        printed,
                        differs=differs(request, data),
                    )
                )
    notes = (*NOTES, "Which network the paper's Table 5 is of is not said; ResNet-18 here.")
    return Content(entries, notes=notes)


def table6(request: PaperRequest) -> Content:
    """Accuracy under corruption, the mean over severities 1 to 5 of the published tables."""
    rows = grid(request) if request.scale == "small" else [
        (data, "resnet18") for data in dict.fromkeys(data for data, _ in grid(request))
    ]  # fmt: skip
    entries = []
    for kind in PAPER:
        for data, net in rows:
            printed = paper.TABLE6.get((kind, paper.SHOWN_BESIDE.get(data, data)))
            for at, logits in enumerate(("dot", "cosine")):
                for arm_at, arm in enumerate(ARMS):
                    cells = _cells_of(request, data, net, logits, arm, ("corruptions",))
                    value = None if printed is None else percent(printed[at][arm_at])
                    entries.append(
                        TableEntry(
                            f"{kind}, {DATA_TITLES[data]}",
                            f"{logits}, {arm}",
                            only(cells),
                            _corrupted(kind),
                            value,
                            differs=(*differs(request, data), "the paper's severity is unknown"),
                            where=DATA_TITLES[data],
                            metric=f"accuracy under {kind}",
                        )
                    )
    claims = [_claim(f"{entry.row}, {entry.column.split(',')[0]}", entry, other)
              for entry, other in zip(entries[::2], entries[1::2], strict=True)]  # fmt: skip
    notes = (
        *NOTES,
        f"Dot arms at learning rate {SHOWN_RATE:g}, cosine arms at S = {SHOWN_SCALE}; corrupted "
        "are the first 2,000 test images; each figure is the mean over five severities.",
    )
    return Content(entries, claims, notes=notes)


def _corrupted(kind: str) -> Read:
    def read(row: Record) -> float | None:
        rates = row["measures"].get("corruptions")
        return None if rates is None else mean(rates["accuracy"][kind])

    return read


def table7(request: PaperRequest) -> Content:
    """Learning rates, PreActResNet-18 (small-cnn at the small scale)."""
    return _by_rate(request, paper.TABLE7, "preact-resnet18")


def table8(request: PaperRequest) -> Content:
    """Learning rates, ResNet-18."""
    return _by_rate(request, paper.TABLE8, "resnet18")


def table9(request: PaperRequest) -> Content:
    """Learning rates, MobileNetV2; the paper's figures are not at hand."""
    return _by_rate(request, None, "mobilenetv2")


def _by_rate(
    request: PaperRequest, printed: Mapping[tuple[str, float], paper.Pair] | None, net: str
) -> Content:
    places = grid(request) if request.scale == "small" else [
        (data, net) for data in ("stl10", "cifar100", "tiny-imagenet")
    ]  # fmt: skip
    entries = []
    for data, backbone in places:
        rates = RATES[request.scale] + ((0.0001,) if data == "stl10" else ())
        for lr in rates:
            values = None if printed is None else printed.get((data, lr))
            for at, arm in enumerate(ARMS):
                cells = dot_cells(request, data, backbone, arm, lr)
                shown = NOT_AT_HAND if printed is None else None
                shown = shown if values is None else _percent(values[at])
                entries.append(
                    TableEntry(f"{place(data, backbone)}, lr {lr:g}", arm, only(cells),
                               read_test_accuracy, shown, differs=differs(request, data))
                )  # fmt: skip
    pairs = zip(entries[::2], entries[1::2], strict=True)
    claims = [_claim(fixed.row, fixed, learned) for fixed, learned in pairs]
    return Content(entries, claims, notes=NOTES)


# --- what the tables share ------------------------------------------------------------------------


def _fixed_or_not(
    request: PaperRequest,
    printed: Mapping[tuple[str, str], paper.Pair],
    options: Callable[[str, str, str], tuple[Option, ...]],
    what: str,
) -> Content:
    entries, claims = [], []
    for data, net in grid(request):
        beside = paper.SHOWN_BESIDE.get(data, data)
        shown = net if (beside, net) in printed else "resnet18"
        values = printed.get((beside, shown))
        note = "" if (beside, shown) == (data, net) else place(beside, shown)
        fixed, learned = (
            TableEntry(place(data, net), arm, options(data, net, arm), read_test_accuracy,
                       None if values is None else _percent(values[at], note),
                       differs=differs(request, data))
            for at, arm in enumerate(ARMS)
        )  # fmt: skip
        entries += [fixed, learned]
        gain = None if values is None else (values[0] or 0) / 100 - (values[1] or 0) / 100
        claims.append(_claim(f"{place(data, net)}, {what}", fixed, learned, gain))
    return Content(entries, claims, notes=NOTES)


def _claim(
    where: str, fixed: TableEntry, learned: TableEntry, printed: float | None = None
) -> Claim:
    return Claim(f"{where}: fixed above non-fixed", fixed, learned, printed)


def _percent(value: float | None, note: str = "") -> Printed:
    return NOT_CONVERGED if value is None else percent(value, note)


def _cells_of(
    request: PaperRequest, data: str, net: str, logits: str, arm: str, measures: tuple[str, ...]
) -> tuple[TrainingCell, ...]:
    if logits == "dot":
        return dot_cells(request, data, net, arm, SHOWN_RATE, measures)
    return cosine_cells(request, data, net, arm, SHOWN_SCALE, measures)


ALL: tuple[ScaleName, ...] = ("full", "medium", "small")
LONG_TOO: tuple[ScaleName, ...] = ("full", "long", "medium", "small")

ITEMS = (
    Item(NAME, "table1", "Fixed and non-fixed, dot logits", table1, LONG_TOO, published=True),
    Item(
        NAME,
        "table2",
        "Fixed and non-fixed, cosine logits at S = 1",
        table2,
        LONG_TOO,
        published=True,
    ),
    Item(NAME, "table3", "Fixed and non-fixed, cosine logits at the best S", table3, ALL),
    Item(NAME, "table4", "Cosine of features to the predicted class's vector, by S", table4, ALL),
    Item(NAME, "table5", "Generalisation sets", table5, ("full",)),
    Item(NAME, "table6", "Accuracy under corruption", table6),
    Item(NAME, "table7", "Learning rates, PreActResNet-18", table7),
    Item(NAME, "table8", "Learning rates, ResNet-18", table8, ("full",)),
    Item(NAME, "table9", "Learning rates, MobileNetV2", table9, ("full",)),
)

"""Do features with a frozen ETF collapse onto it, also where classes are unequal?"""

from __future__ import annotations

from statistics import mean
from typing import Any

from ...runs.records import Record
from ..item import Claim, Content, Entry, Item, Request
from .recipe import (
    ETF_CE,
    ETF_DR,
    LEARNED,
    NAME,
    SMALL_DATA,
    SMALL_FACTOR,
    balanced,
    long_tailed,
    notes,
    option,
    place,
)

ARMS = (LEARNED, ETF_CE, ETF_DR)
MEASURE = "training-collapse"
COLUMNS = {
    "nc1": "NC1, variability within classes",
    "equiangularity_deviation": "NC2, deviation of class means' cosines from −1/(K−1)",
    "self_duality": "NC3, distance of class means from class vectors",
}


def collapse(request: Request) -> Content:
    """NC1 to NC3 of the training images after the last epoch, balanced and with a long tail.

    Small: no run of its own, it measures those of ``balanced`` and ``long-tail``.
    """
    entries: list[Entry] = []
    claims: list[Claim] = []
    recipes = {}
    for data, net in _places(request):
        chosen = {
            "balanced": balanced(request, data, net),
            f"tail {SMALL_FACTOR:g}": long_tailed(request, data, net, SMALL_FACTOR),
        }
        for words, recipe in chosen.items():
            where = f"{place(data, net)}, {words}"
            recipes[where] = recipe
            own = {
                (arm, key): Entry(f"{where}: {column}", arm,
                                  option(request, recipe, arm, (MEASURE,)), _read(key),
                                  unit="number")
                for key, column in COLUMNS.items()
                for arm in ARMS
            }  # fmt: skip
            entries += own.values()
            claims += [
                Claim(
                    f"{where}: class means lie nearer to the vectors (NC3) with {arm}",
                    own[LEARNED, "self_duality"],
                    own[arm, "self_duality"],
                )
                for arm in (ETF_CE, ETF_DR)
            ]
            if words != "balanced":
                entries += [
                    Entry(f"{where}: mean cosine between the rarest classes' vectors", arm,
                          option(request, recipe, arm, (MEASURE,)), _rare_cosine, unit="number")
                    for arm in ARMS
                ]  # fmt: skip
    note = (
        "Measured on the training images without augmentation, every class of equal weight. Of "
        "features for the learned head (dot logits), of their directions for the others: NC1 of "
        "the two cannot be compared. All of them are 0 under full collapse; a few epochs do not "
        "reach it."
    )
    return Content(entries, claims, recipes=recipes, notes=notes(request, note))


def _places(request: Request) -> list[tuple[str, str]]:
    if request.scale == "small":
        return [(data, "small-cnn") for data in SMALL_DATA]
    return [("cifar10", "resnet32"), ("cifar100", "resnet32x2")]


def _read(key: str) -> Any:
    def read(row: Record) -> float | None:
        found = row["measures"].get(MEASURE)
        return None if found is None else found[key]

    return read


def _rare_cosine(row: Record) -> float | None:
    """Learned vectors of rare classes run together ("minority collapse"); an ETF's cannot."""
    rare, cosines = row.get("groups", {}).get("few", ()), row["geometry"]["class_cosines"]
    pairs = [cosines[i][j] for i in rare for j in rare if i < j]
    return mean(pairs) if pairs else None


ITEMS = (Item(NAME, "collapse", "Neural collapse, balanced and under a long tail", collapse),)

"""Table 1: validation accuracy of learned and fixed classifiers."""

from __future__ import annotations

from ...runs.records import Record
from ..item import Claim, Content, Entry, Item, Request
from ..printed import Printed
from .recipe import (
    ARMS,
    HADAMARD,
    LEARNED,
    NAME,
    NETWORKS,
    NOTES,
    ORTHONORMAL,
    RELEASED,
    RELEASED_NOTE,
    SMALL_DATA,
    SMALL_NOTE,
    TITLES,
    Recipe2018,
    accuracy_of,
    differs,
    full,
    option,
    shortened,
    small,
)


def test_accuracy(row: Record) -> float:
    return float(row["test_accuracy"])


def table1(request: Request) -> Content:
    """Learned, orthonormal and Hadamard classifiers; as published: the released modules.

    Small: about five minutes of one CPU core.
    """
    heads = RELEASED if request.as_published else ARMS
    entries: list[Entry] = []
    claims: list[Claim] = []
    recipes = {}
    for where, chosen, printed in _rows(request):
        recipes[where] = chosen
        own = {
            arm: Entry(where, arm, option(request, chosen, head), test_accuracy, printed.get(arm),
                       differs=differs(request, chosen.data))
            for arm, head in heads.items()
        }  # fmt: skip
        entries += own.values()
        claims += [
            Claim(f"{where}: learned above {arm} (the paper: hardly)", own[LEARNED], own[arm])
            for arm in (ORTHONORMAL, HADAMARD)
        ]
    notes = (
        *NOTES,
        *((SMALL_NOTE,) if request.scale == "small" else ()),
        *((RELEASED_NOTE,) if request.as_published else ()),
    )
    return Content(entries, claims, recipes=recipes, notes=notes)


def _rows(request: Request) -> list[tuple[str, Recipe2018, dict[str, Printed]]]:
    """(where, recipe, what the paper prints by arm) of every row."""
    if request.scale == "full":
        return [
            (
                net.place,
                shortened(request, full(net.data, net.backbone)),
                {arm: accuracy_of(net, arm) for arm in ARMS},
            )
            for net in NETWORKS
        ]
    beside = NETWORKS[0]
    note = f"{TITLES[beside.data]}, {beside.title}"
    return [
        (
            f"{TITLES[data]}, small-cnn",
            shortened(request, small(data)),
            {arm: accuracy_of(beside, arm, note) for arm in ARMS} if data == "cifar10-jpeg" else {},
        )
        for data in SMALL_DATA
    ]


ITEMS = (Item(NAME, "table1", "Learned and fixed classifiers: accuracy", table1, published=True),)

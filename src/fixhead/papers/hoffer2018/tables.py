"""Table 1, accuracies of learned and fixed classifiers; and what a fixed one saves, counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...backbones.external import timm_module
from ...backbones.registry import build
from ...runs.records import Record
from ..item import (
    Claim,
    ComputedCell,
    Content,
    Item,
    LoadContext,
    Printed,
    Read,
    TableEntry,
    computed,
    only,
    read_test_accuracy,
    recalled,
)
from ..recipe import JPEG_COPY, PaperRecipe, PaperRequest, place
from .recipe import (
    ARMS,
    HADAMARD,
    LEARNED,
    NAME,
    NOTES,
    ORTHONORMAL,
    RELEASED,
    RELEASED_NOTE,
    SMALL_DATA,
    SMALL_NOTE,
    differs,
    full,
    long,
    option,
    small,
)


@dataclass(frozen=True)
class PrintedNetwork:
    """A row of the paper's table: all its figures are recalled, unverified.

    ``learned`` and ``fixed`` are accuracies in per cent, ``parameters`` those of the whole network,
    ``share`` the classifier's in per cent.
    """

    data: str
    backbone: str
    classes: int
    learned: float
    fixed: float
    parameters: int
    share: float

    @property
    def place(self) -> str:
        return place(self.data, self.backbone)

    def accuracy(self, arm: str, note: str = "") -> Printed:
        return recalled(self.learned if arm == LEARNED else self.fixed, note)


NETWORKS = (
    PrintedNetwork("cifar10", "resnet56", 10, 93.03, 93.14, 855_770, 0.07),
    PrintedNetwork("cifar100", "densenet-bc-100-12", 100, 77.73, 77.67, 800_032, 4.2),
    PrintedNetwork("imagenet", "timm:resnet50", 1000, 75.3, 75.3, 25_557_032, 8.01),
    PrintedNetwork("imagenet", "timm:densenet169", 1000, 76.2, 76.0, 14_149_480, 11.76),
    PrintedNetwork("imagenet", "shufflenet", 1000, 65.9, 65.4, 1_826_555, 52.56),
)


def table1(request: PaperRequest) -> Content:
    """Learned, orthonormal and Hadamard classifiers; as published: the released modules.

    Small: about five minutes of one CPU core.
    """
    heads = RELEASED if request.as_published else ARMS
    entries: list[TableEntry] = []
    claims: list[Claim] = []
    for where, recipe, printed in _rows(request):
        by_arm = {
            arm: TableEntry(
                where, arm, option(request, recipe, head), read_test_accuracy, printed.get(arm),
                differs=differs(request, recipe.config.data),
            )
            for arm, head in heads.items()
        }  # fmt: skip
        entries += by_arm.values()
        claims += [
            Claim(f"{where}: learned above {arm} (the paper: hardly)", by_arm[LEARNED], by_arm[arm])
            for arm in (ORTHONORMAL, HADAMARD)
        ]
    notes = (
        *NOTES,
        *((SMALL_NOTE,) if request.scale == "small" else ()),
        *((RELEASED_NOTE,) if request.as_published else ()),
    )
    return Content(entries, claims, notes=notes)


def _rows(request: PaperRequest) -> list[tuple[str, PaperRecipe, dict[str, Printed]]]:
    """(where, recipe, what the paper prints by arm) of every row."""
    if request.scale == "full":
        rows = [
            (net.place, full(net.data, net.backbone), {arm: net.accuracy(arm) for arm in ARMS})
            for net in NETWORKS
        ]
    elif request.scale == "long":
        net = NETWORKS[0]
        printed = {arm: net.accuracy(arm, net.place) for arm in ARMS}
        rows = [(place(JPEG_COPY, net.backbone), long(), printed)]
    else:
        beside = NETWORKS[0]
        printed = {arm: beside.accuracy(arm, beside.place) for arm in ARMS}
        rows = [
            (place(data, "small-cnn"), small(data), printed if data == JPEG_COPY else {})
            for data in SMALL_DATA
        ]
    return [(where, recipe.as_asked(request), shown) for where, recipe, shown in rows]


# --- what a fixed classifier saves ----------------------------------------------------------------

BYTES = 4
"""Of a float32."""
MIB = 2**20
STATE = {"SGD with momentum": 1, "Adam": 2}
"""Numbers that the optimiser keeps for each weight."""


TO_THE_PARAMETER = "to the parameter: both are counts"
PRINTED_TENTHS = "a tenth of a per cent, to which some of the shares are printed"


def count(load: LoadContext, seed: int, *, backbone: str, classes: int) -> Record:
    """Parameters of the whole network with a learned classifier, and of that classifier.

    Counted on torch's meta device: nothing is allocated, no weight is drawn or loaded.
    """
    body, d = _body(backbone)
    weights = classes * d
    whole = sum(one.numel() for one in body.parameters()) + weights + classes
    return {
        "parameters": whole,
        "features": d,
        "classifier": weights,
        "bias": classes,
        "share": weights / whole,
        "trained": whole - weights + 1,  # one scale takes the classifier's place
    }


def _body(name: str) -> tuple[nn.Module, int]:
    with torch.device("meta"):
        if name.startswith("timm:"):
            body: Any = timm_module().create_model(name.partition(":")[2], num_classes=0)
            return body, int(body.num_features)
        backbone = build(name, channels=3, image_size=32, seed=0)
    return backbone, backbone.features


def memory(request: PaperRequest) -> Content:
    """Exact counts for the paper's five networks; seconds, no training, both scales the same.

    fixhead paper hoffer2018 memory
    """
    entries: list[TableEntry] = []
    for net in NETWORKS:
        arguments = (("backbone", net.backbone), ("classes", net.classes))
        counted = only([ComputedCell(count, arguments, recorded_as=f"{_RECORDED}.memory.count")])
        millions = Printed(net.parameters / 1e6, "recalled")
        other = ("another ShuffleNet, 2 % larger",) if net.backbone == "shufflenet" else ()
        entries += [
            TableEntry(net.place, "parameters, millions", counted, _millions, millions, "number",
                       tolerance=5e-7, tolerance_reason=TO_THE_PARAMETER, exact=True,
                       differs=other, arm="", metric="parameters, millions"),
            TableEntry(net.place, "the classifier's share", counted, computed("share"),
                       recalled(net.share), tolerance=1e-3, tolerance_reason=PRINTED_TENTHS,
                       exact=True, differs=other, arm="",
                       metric="the classifier's share"),
            *(
                TableEntry(net.place, f"gradient and state of {name} saved, MiB", counted,
                           saved_mib(extra), None, "number", arm="",
                           metric=f"gradient and state of {name} saved, MiB")
                for name, extra in STATE.items()
            ),
            TableEntry(net.place,
                       "classifier's weights, MiB: saved too where they are made, not stored",
                       counted, saved_mib(0), None, "number", arm="",
                       metric="classifier's weights, MiB: saved too where made, not stored"),
        ]  # fmt: skip
    notes = (
        "The paper's sizes are recalled, unverified. A share counts the classifier's weights, not "
        "its bias, which a fixed head keeps.",
        "In float32. A frozen matrix needs no gradient and no optimiser state; it is saved as a "
        "whole only where it can be made again from its name and seed. Activations are not "
        "counted: they are most of a training step's memory, and stay.",
        "ShuffleNet here is its own paper's, 1× with 3 groups; the one that Hoffer et al. used is "
        "2 % smaller, in what is not known.",
    )
    return Content(entries, notes=notes)


_RECORDED = "fixhead.papers.hoffer2018"


def _millions(row: Record) -> float:
    return float(row["found"]["parameters"]) / 1e6


def saved_mib(extra: int) -> Read:
    """The gradient and ``extra`` numbers of state for each weight; 0: the weights alone."""
    copies = 1 + extra if extra else 1
    return lambda row: copies * BYTES * float(row["found"]["classifier"]) / MIB


ITEMS = (
    Item(NAME, "table1", "Learned and fixed classifiers: accuracy", table1,
         ("full", "long", "small"), published=True),
    Item(NAME, "memory", "Parameters, gradients and optimiser state saved", memory),
)  # fmt: skip

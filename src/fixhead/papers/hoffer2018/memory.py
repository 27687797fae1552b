"""What a frozen classifier saves: parameters, gradients and optimiser state, counted."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...backbones import build
from ...backbones.external import timm_module
from ...runs.records import Record
from ..cells import ComputedCell, LoadSetting
from ..item import Content, Entry, Item, Option, Request
from ..printed import Printed, recalled
from .recipe import NAME, NETWORKS, Network

BYTES = 4
"""Of a float32."""
MIB = 2**20
STATE = {"SGD with momentum": 1, "Adam": 2}
"""Numbers that the optimiser keeps for each weight."""


def count(load: LoadSetting, seed: int, *, backbone: str, classes: int) -> Record:
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
        made = build(name, channels=3, image_size=32, seed=0)
    return made, made.features


def memory(request: Request) -> Content:
    """Exact counts for the paper's five networks; seconds, no training, both scales the same.

    fixhead paper hoffer2018 memory
    """
    entries: list[Entry] = []
    for net in NETWORKS:
        own = (Option("", (ComputedCell(count, _arguments(net)),)),)
        millions = Printed(net.parameters / 1e6, "recalled")
        other = ("another ShuffleNet, 2 % larger",) if net.backbone == "shufflenet" else ()
        entries += [
            Entry(net.place, "parameters, millions", own, _millions, millions, "number",
                  tolerance=5e-7, differs=other),
            Entry(net.place, "the classifier's share", own, _share, recalled(net.share),
                  tolerance=1e-3, differs=other),
            *(
                Entry(net.place, f"gradient and state of {name} saved, MiB", own, _saved(extra),
                      None, "number")
                for name, extra in STATE.items()
            ),
            Entry(net.place, "classifier's weights, MiB: saved too where they are made, not stored",
                  own, _saved(0), None, "number"),
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


def _arguments(net: Network) -> tuple[tuple[str, Any], ...]:
    return (("backbone", net.backbone), ("classes", net.classes))


def _millions(row: Record) -> float:
    return float(row["found"]["parameters"]) / 1e6


def _share(row: Record) -> float:
    return float(row["found"]["share"])


def _saved(extra: int) -> Any:
    """The gradient and ``extra`` numbers of state for each weight; 0: the weights alone."""
    copies = 1 + extra if extra else 1

    def read(row: Record) -> float:
        return copies * BYTES * float(row["found"]["classifier"]) / MIB

    return read


ITEMS = (Item(NAME, "memory", "Parameters, gradients and optimiser state saved", memory),)

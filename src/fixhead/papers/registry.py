"""The papers by name. A further paper is a module with its PAPER, and a line here."""

from __future__ import annotations

from importlib import import_module

from .._errors import RequestError
from .item import Content, Item, Paper
from .recipe import PaperRequest

PAPERS = ("delacalle2019", "shalev2020", "yang2022", "hoffer2018")
"""Modules of this room, each with its PAPER; imported when they are asked for."""


def paper(name: str) -> Paper:
    """A paper by its name.

    Raises:
        RequestError: no such paper.
    """
    if name not in PAPERS:
        raise RequestError(f"PAPER must be one of {', '.join(PAPERS)}, got {name!r}")
    known: Paper = import_module(f".{name}", __package__).PAPER
    return known


def items() -> list[Item]:
    """Every table, figure and number of the papers."""
    return [item for name in PAPERS for item in paper(name).items]


def find(name: str, item: str) -> Item:
    """The item ``item`` of the paper ``name``.

    Raises:
        RequestError: no such paper, or no such item in it.
    """
    by_name = {one.name: one for one in paper(name).items}
    if item not in by_name:
        raise RequestError(f"ITEM of {name} must be one of {', '.join(by_name)}, got {item!r}")
    return by_name[item]


def build(item: Item, request: PaperRequest) -> Content:
    """The item's content, where the request can be met.

    Raises:
        RequestError: a scale or protocol that the item does not have; no seeds, no epochs.
    """
    if request.scale not in item.scales:
        raise RequestError(
            f"--scale of {item.paper} {item.name} must be one of {', '.join(item.scales)}, got "
            f"{request.scale}"
        )
    if request.as_published and not item.published:
        raise RequestError(
            f"{item.paper} {item.name} has no --as-published: it is no table of accuracies, or the "
            "paper's code is not released"
        )
    for name in ("seeds", "epochs"):
        value = getattr(request, name)
        if value is not None and value < 1:
            raise RequestError(f"--{name} must be 1 or more, got {value}")
    return item.build(request)

"""The papers by name. A further paper is a module with its PAPER, and a line here."""

from __future__ import annotations

from .._errors import RequestError
from . import delacalle2019, hoffer2018, shalev2020, yang2022
from .item import Content, Item, Paper
from .recipe import PaperRequest

_PAPERS = (delacalle2019.PAPER, shalev2020.PAPER, yang2022.PAPER, hoffer2018.PAPER)


def items() -> list[Item]:
    """Every table, figure and number of the papers."""
    return [item for paper in _PAPERS for item in paper.items]


def paper_of(item: Item) -> Paper:
    return next(paper for paper in _PAPERS if paper.name == item.paper)


def find(paper: str, name: str) -> Item:
    """The item of that paper and name.

    Raises:
        RequestError: no such paper, or no such item in it.
    """
    papers = [one.name for one in _PAPERS]
    if paper not in papers:
        raise RequestError(f"PAPER must be one of {', '.join(papers)}, got {paper!r}")
    by_name = {item.name: item for item in items() if item.paper == paper}
    if name not in by_name:
        raise RequestError(f"ITEM of {paper} must be one of {', '.join(by_name)}, got {name!r}")
    return by_name[name]


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

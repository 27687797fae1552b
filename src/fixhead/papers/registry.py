"""The papers by name. A further paper, or part of one, is a module with ITEMS and a line here."""

from __future__ import annotations

from .._errors import RequestError
from . import delacalle2019, hoffer2018, shalev2020, yang2022
from .item import Item

_MODULES = (delacalle2019, shalev2020, yang2022, hoffer2018)


def items() -> list[Item]:
    """Every table, figure and number of the papers."""
    return [item for module in _MODULES for item in module.ITEMS]


def find(paper: str, name: str) -> Item:
    """The item of that paper and name.

    Raises:
        RequestError: no such paper, or no such item in it.
    """
    papers = list(dict.fromkeys(item.paper for item in items()))
    if paper not in papers:
        raise RequestError(f"PAPER must be one of {', '.join(papers)}, got {paper!r}")
    own = {item.name: item for item in items() if item.paper == paper}
    if name not in own:
        raise RequestError(f"ITEM of {paper} must be one of {', '.join(own)}, got {name!r}")
    return own[name]

"""The four papers as named recipes: every table and figure, with the paper's own figures beside.

A paper is a module (or a folder of them) that lists its items; ``registry`` names the papers. An
item says which runs it needs (cells) and how its table and figures are read from their records.
The names are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .item import Claim, Content, Item, Option, Paper, Printed, TableEntry
    from .recipe import PaperRecipe, PaperRequest, stated
    from .registry import find, items
    from .run import RunOptions, perform

__all__ = [
    "Claim",
    "Content",
    "Item",
    "Option",
    "Paper",
    "PaperRecipe",
    "PaperRequest",
    "Printed",
    "RunOptions",
    "TableEntry",
    "find",
    "items",
    "perform",
    "stated",
]

__getattr__ = lazy_names(
    __name__,
    dict.fromkeys(("Claim", "Content", "Item", "Option", "Paper", "Printed", "TableEntry"), "item")
    | dict.fromkeys(("PaperRecipe", "PaperRequest", "stated"), "recipe")
    | dict.fromkeys(("find", "items"), "registry")
    | dict.fromkeys(("RunOptions", "perform"), "run"),
)

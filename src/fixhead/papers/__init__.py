"""The four papers as named recipes: every table and figure, with the paper's own figures beside.

A paper is a module (or a folder of them) that lists its items; ``registry`` names the papers. An
item says which runs it needs (cells) and how its table and figures are read from their records.
"""

from .item import Claim, Content, Item, Option, Printed, TableEntry
from .recipe import PaperRecipe, PaperRequest, stated
from .registry import find, items
from .run import RunOptions, perform

__all__ = [
    "Claim",
    "Content",
    "Item",
    "Option",
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

"""The four papers as named recipes: every table and figure, with the paper's own figures beside.

A paper is a module (or a folder of them) that lists its items; ``registry`` names the papers. An
item says which runs it needs (cells) and how its table and figures are read from their records.
"""

from .item import Claim, Content, Entry, Item, Option, Request
from .perform import Way, perform
from .printed import Printed
from .recipe import PaperRecipe, code, ours, paper
from .registry import find, items

__all__ = [
    "Claim",
    "Content",
    "Entry",
    "Item",
    "Option",
    "PaperRecipe",
    "Printed",
    "Request",
    "Way",
    "code",
    "find",
    "items",
    "ours",
    "paper",
    "perform",
]

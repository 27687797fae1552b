"""Corrupted test images: the 15 kinds of Hendrycks & Dietterich at their five severities."""

from .apply import corrupt, corrupt_picture, corrupted
from .tables import KINDS, PAPER, TABLES, kind_named, strength, table_for

__all__ = [
    "KINDS",
    "PAPER",
    "TABLES",
    "corrupt",
    "corrupt_picture",
    "corrupted",
    "kind_named",
    "strength",
    "table_for",
]

"""Corrupted test images: the 15 kinds of Hendrycks & Dietterich at their five severities."""

from .apply import corrupt, corrupted
from .picture import Picture, corrupt_picture
from .published import load_published, published_place
from .tables import KINDS, PAPER, TABLES, kind_named, strength, table_for

__all__ = [
    "KINDS",
    "PAPER",
    "TABLES",
    "Picture",
    "corrupt",
    "corrupt_picture",
    "corrupted",
    "kind_named",
    "load_published",
    "published_place",
    "strength",
    "table_for",
]

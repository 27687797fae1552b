"""The compiled path for code vectors on the CPU, and the choice whether to take it."""

from .calls import library_for, most, rest, rows, slope, top
from .library import CHOICES, VARIABLE, Chosen, available, chosen, forced, paths

__all__ = [
    "CHOICES",
    "VARIABLE",
    "Chosen",
    "available",
    "chosen",
    "forced",
    "library_for",
    "most",
    "paths",
    "rest",
    "rows",
    "slope",
    "top",
]

"""Hoffer et al. 2018, "Fix your classifier" (arXiv 1801.04540).

A frozen classifier, orthonormal or Hadamard, with one learned scale: accuracies, the memory that it
saves, and what the released Hadamard rows do when there are more classes than features.
"""

from ..item import Paper
from . import repeats, tables
from .recipe import NAME

PAPER = Paper(
    NAME,
    "Hoffer et al. 2018",
    (*tables.ITEMS, *repeats.ITEMS),
    "class vectors, scale and bias are those of the released modules; the training is that of the "
    "fair table.",
)

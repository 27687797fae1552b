"""Hoffer et al. 2018, "Fix your classifier" (arXiv 1801.04540).

A frozen classifier, orthonormal or Hadamard, with one learned scale: accuracies, the memory that it
saves, and what the released Hadamard rows do when there are more classes than features.
"""

from . import repeats, tables

ITEMS = (*tables.ITEMS, *repeats.ITEMS)

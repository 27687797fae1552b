"""Hoffer et al. 2018, "Fix your classifier" (arXiv 1801.04540).

A frozen classifier, orthonormal or Hadamard, with one learned scale: accuracies, the memory that it
saves, and what the released Hadamard rows do when there are more classes than features.
"""

from .memory import ITEMS as _MEMORY
from .repeats import ITEMS as _REPEATS
from .table import ITEMS as _TABLE

ITEMS = (*_TABLE, *_MEMORY, *_REPEATS)

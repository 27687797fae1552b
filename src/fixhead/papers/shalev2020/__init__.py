"""Shalev et al. 2020, "Redesigning the classification layer …" (arXiv 2011.08704).

Frozen random class vectors against learned ones, under dot and cosine logits. Every table and
figure of the text, the correlations and the compactness that it states, and what its released
code's unequal learning rates do to the comparison.
"""

from ..item import Paper
from . import figures, statements, tables
from .recipe import NAME

PAPER = Paper(
    NAME,
    "Shalev et al. 2020",
    (*tables.ITEMS, *figures.ITEMS, *statements.ITEMS),
    "epochs were chosen on the test set, and learning rates are the released code's, unequal "
    "between arms. These accuracies are biased upwards.",
)

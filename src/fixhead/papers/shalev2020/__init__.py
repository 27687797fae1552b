"""Shalev et al. 2020, "Redesigning the classification layer …" (arXiv 2011.08704).

Frozen random class vectors against learned ones, under dot and cosine logits. Every table and
figure of the text, the correlations and the compactness that it states, and what its released
code's unequal learning rates do to the comparison.
"""

from . import figures, statements, tables

ITEMS = (*tables.ITEMS, *figures.ITEMS, *statements.ITEMS)

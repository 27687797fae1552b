"""Shalev et al. 2020, "Redesigning the classification layer …" (arXiv 2011.08704).

Frozen random class vectors against learned ones, under dot and cosine logits. Every table and
figure of the text, the correlations and the compactness that it states, and what its released
code's unequal learning rates do to the comparison.
"""

from .numbers import ITEMS as _NUMBERS
from .protocol import ITEMS as _PROTOCOL
from .tables import ITEMS as _TABLES
from .views import ITEMS as _VIEWS

ITEMS = (*_TABLES, *_VIEWS, *_NUMBERS, *_PROTOCOL)

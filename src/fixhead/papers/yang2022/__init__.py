"""Yang et al. 2022, "Do we really need a learnable classifier …?" (arXiv 2203.09081).

A frozen simplex ETF in the classifier's place, with cross-entropy or dot regression: long tails,
balanced and fine-grained classes, neural collapse, convergence, and the theory's own model. The
released baseline, which is frozen too, is run beside a truly learned one.
"""

from .collapse import ITEMS as _COLLAPSE
from .tables import ITEMS as _TABLES
from .theory import ITEMS as _THEORY

ITEMS = (*_TABLES, *_COLLAPSE, *_THEORY)

"""Yang et al. 2022, "Do we really need a learnable classifier …?" (arXiv 2203.09081).

A frozen simplex ETF in the classifier's place, with cross-entropy or dot regression: long tails,
balanced and fine-grained classes, neural collapse, convergence, and the theory's own model. The
released baseline, which is frozen too, is run beside a truly learned one.
"""

from . import convergence, layer_peeled, tables

ITEMS = (*tables.ITEMS, *convergence.ITEMS, *layer_peeled.ITEMS)
"""In the order of ``fixhead paper list``."""

"""Yang et al. 2022, "Do we really need a learnable classifier …?" (arXiv 2203.09081).

A frozen simplex ETF in the classifier's place, with cross-entropy or dot regression: long tails,
balanced and fine-grained classes, neural collapse, convergence, and the theory's own model. The
released baseline, which is frozen too, is run beside a truly learned one.
"""

from ..item import Paper
from . import convergence, layer_peeled, tables
from .recipe import NAME

PAPER = Paper(
    NAME,
    "Yang et al. 2022",
    (*tables.ITEMS, *convergence.ITEMS, *layer_peeled.ITEMS),
    "epochs were chosen on the test set, and both heads, the baseline's too, are the released "
    "code's frozen ones. These accuracies are biased upwards.",
)

"""de la Calle et al. 2019, "Geometric interpretation of a CNN's last layer": Figures 2 to 4.

MNIST thinned to a geometric long tail (p = 1/2), features of two dimensions, learned class vectors
that start at random or guided by the class counts.
"""

from .items import ITEMS

__all__ = ["ITEMS"]

"""Networks that end in features (N, d): our own for small images, timm's and torchvision's."""

from .backbone import Backbone, NeckName, xavier_
from .registry import NAMES, build

__all__ = ["NAMES", "Backbone", "NeckName", "build", "xavier_"]

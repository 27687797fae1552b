"""The classification layer: class vectors × logits × scale × bias × learned or fixed."""

from .head import ClassificationHead
from .presets import PRESETS, HeadSpec, parse_head

__all__ = ["PRESETS", "ClassificationHead", "HeadSpec", "parse_head"]

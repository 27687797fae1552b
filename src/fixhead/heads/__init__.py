"""The classification layer: class vectors × logits × scale × bias × learned or fixed."""

from .grammar import HeadSpec
from .head import ClassificationHead
from .presets import PRESETS, parse_head, split_heads
from .reach import ReachabilityWarning

__all__ = [
    "PRESETS",
    "ClassificationHead",
    "HeadSpec",
    "ReachabilityWarning",
    "parse_head",
    "split_heads",
]

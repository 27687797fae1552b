"""The classification layer: class vectors × logits × scale × bias × learned or fixed."""

from .head import ClassificationHead
from .imprint import ImprintWarning
from .init import ReachabilityWarning
from .spec import PRESETS, HeadSpec, parse_head, split_heads

__all__ = [
    "PRESETS",
    "ClassificationHead",
    "HeadSpec",
    "ImprintWarning",
    "ReachabilityWarning",
    "parse_head",
    "split_heads",
]

"""A comparison = arms × seeds: planned, run, recorded, summed up, carried on after a stop.

The names are imported when first used: ``comparison.config`` alone needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .config import Comparison
    from .job import compare, describe_plan

__all__ = ["Comparison", "compare", "describe_plan"]

__getattr__ = lazy_names(
    __name__, {"Comparison": "config", "compare": "job", "describe_plan": "job"}
)

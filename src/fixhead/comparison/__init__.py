"""A comparison = arms × seeds: planned, run, recorded, summed up, carried on after a stop."""

from .compare import compare
from .config import Comparison
from .estimate import describe_plan

__all__ = ["Comparison", "compare", "describe_plan"]

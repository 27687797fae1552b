"""What a trained model does on a set: accuracy, groups, and the geometry of its last layer."""

from .evaluate import Evaluation, evaluate
from .geometry import describe_geometry

__all__ = ["Evaluation", "describe_geometry", "evaluate"]

"""What a trained model does on a set: accuracy, groups, and the geometry of its last layer."""

from .bootstrap import Drops, Estimate, drops
from .detail import (
    Detail,
    accuracies,
    describe_calibration,
    describe_collapse,
    describe_compactness,
    examine,
    never_predicted,
)
from .evaluate import Evaluation, evaluate, hits, probabilities
from .examples import confused_examples
from .geometry import describe_geometry
from .plain import plain
from .robustness import corruption_errors, mean_accuracy, mean_corruption_error
from .sectors import describe_areas
from .watching import CollapseWatch

__all__ = [
    "CollapseWatch",
    "Detail",
    "Drops",
    "Estimate",
    "Evaluation",
    "accuracies",
    "confused_examples",
    "corruption_errors",
    "describe_areas",
    "describe_calibration",
    "describe_collapse",
    "describe_compactness",
    "describe_geometry",
    "drops",
    "evaluate",
    "examine",
    "hits",
    "mean_accuracy",
    "mean_corruption_error",
    "never_predicted",
    "plain",
    "probabilities",
]

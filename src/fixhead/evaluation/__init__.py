"""What a trained model does on a set: accuracy, groups, and the geometry of its last layer."""

from .corruptions import corruption_errors, mean_accuracy, mean_corruption_error
from .details import (
    Detail,
    accuracies,
    describe_calibration,
    describe_collapse,
    describe_compactness,
    describe_geometry,
    examine,
    never_predicted,
)
from .examples import confused_examples
from .monitor import CollapseMonitor
from .outputs import Evaluation, evaluate_model, hits, plain, probabilities
from .projections import describe_areas
from .shifted_sets import Drops, Estimate, drops

__all__ = [
    "CollapseMonitor",
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
    "evaluate_model",
    "examine",
    "hits",
    "mean_accuracy",
    "mean_corruption_error",
    "never_predicted",
    "plain",
    "probabilities",
]

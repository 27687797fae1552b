"""What a trained model does on a set: accuracy, groups, and the geometry of its last layer.

The names are imported when first used: one picture's prediction needs no corruptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .corruptions import corruption_errors, mean_accuracy, mean_corruption_error
    from .details import (
        CollapseMonitor,
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
    from .further_sets import Drops, Estimate, drops
    from .outputs import Evaluation, evaluate_model, hits, plain, probabilities
    from .projections import describe_areas

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

__getattr__ = lazy_names(
    __name__,
    {
        "CollapseMonitor": "details",
        "Detail": "details",
        "Drops": "further_sets",
        "Estimate": "further_sets",
        "Evaluation": "outputs",
        "accuracies": "details",
        "confused_examples": "examples",
        "corruption_errors": "corruptions",
        "describe_areas": "projections",
        "describe_calibration": "details",
        "describe_collapse": "details",
        "describe_compactness": "details",
        "describe_geometry": "details",
        "drops": "further_sets",
        "evaluate_model": "outputs",
        "examine": "details",
        "hits": "outputs",
        "mean_accuracy": "corruptions",
        "mean_corruption_error": "corruptions",
        "never_predicted": "details",
        "plain": "outputs",
        "probabilities": "outputs",
    },
)

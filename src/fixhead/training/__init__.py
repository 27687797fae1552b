"""Training on Lightning Fabric: a recipe, a loop that can be stopped, saved models.

The names are imported when first used: the recipe needs no torch, and fine-tuning no lightning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .checkpoint import load_model_state, read_description, save_model
    from .engine import resolve_device
    from .loop import TrainingResult, train
    from .mixing import Batches, check_mixing, labelled
    from .model import Classifier
    from .progress import Progress, SilentProgress, progress_for
    from .rebuild import classifier, load_classifier
    from .recipe import Recipe
    from .resume import remove_checkpoint
    from .tally import NonFiniteLossError

__all__ = [
    "Batches",
    "Classifier",
    "NonFiniteLossError",
    "Progress",
    "Recipe",
    "SilentProgress",
    "TrainingResult",
    "check_mixing",
    "classifier",
    "labelled",
    "load_classifier",
    "load_model_state",
    "progress_for",
    "read_description",
    "remove_checkpoint",
    "resolve_device",
    "save_model",
    "train",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Batches": "mixing",
        "Classifier": "model",
        "NonFiniteLossError": "tally",
        "Progress": "progress",
        "Recipe": "recipe",
        "SilentProgress": "progress",
        "TrainingResult": "loop",
        "check_mixing": "mixing",
        "classifier": "rebuild",
        "labelled": "mixing",
        "load_classifier": "rebuild",
        "load_model_state": "checkpoint",
        "progress_for": "progress",
        "read_description": "checkpoint",
        "remove_checkpoint": "resume",
        "resolve_device": "engine",
        "save_model": "checkpoint",
        "train": "loop",
    },
)

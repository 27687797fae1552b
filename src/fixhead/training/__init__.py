"""Training on Lightning Fabric: a recipe, a loop that can be stopped, saved models, fine-tuning.

The names are imported when first used: the recipe needs no torch, and fine-tuning no lightning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .checkpoints import (
        load_classifier,
        load_model_state,
        read_description,
        remove_checkpoint,
        save_model,
    )
    from .engine import resolve_device
    from .finetune import FinetuneEpoch, FinetuneReport, finetune_head
    from .imprint import Imprinted, imprint_head
    from .loop import TrainingResult, train
    from .model import Classifier, build_classifier
    from .progress import Progress, SilentProgress, progress_for
    from .recipe import Recipe
    from .step import EpochBatches, NonFiniteLossError, ValidationHook, check_mixing, labelled

__all__ = [
    "Classifier",
    "EpochBatches",
    "FinetuneEpoch",
    "FinetuneReport",
    "Imprinted",
    "NonFiniteLossError",
    "Progress",
    "Recipe",
    "SilentProgress",
    "TrainingResult",
    "ValidationHook",
    "build_classifier",
    "check_mixing",
    "finetune_head",
    "imprint_head",
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
        "EpochBatches": "step",
        "Classifier": "model",
        "FinetuneEpoch": "finetune",
        "FinetuneReport": "finetune",
        "Imprinted": "imprint",
        "NonFiniteLossError": "step",
        "Progress": "progress",
        "Recipe": "recipe",
        "SilentProgress": "progress",
        "TrainingResult": "loop",
        "ValidationHook": "step",
        "build_classifier": "model",
        "check_mixing": "step",
        "finetune_head": "finetune",
        "imprint_head": "imprint",
        "labelled": "step",
        "load_classifier": "checkpoints",
        "load_model_state": "checkpoints",
        "progress_for": "progress",
        "read_description": "checkpoints",
        "remove_checkpoint": "checkpoints",
        "resolve_device": "engine",
        "save_model": "checkpoints",
        "train": "loop",
    },
)

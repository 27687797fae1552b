"""Conversion: a trained model gets a fixed head and is trained on for a few epochs."""

from .finetune import finetune_head
from .report import FinetuneEpoch, FinetuneReport

__all__ = ["FinetuneEpoch", "FinetuneReport", "finetune_head"]

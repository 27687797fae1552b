"""Data sets as memory-mapped uint8 arrays, and the batches that a training loop takes from them.

The names are imported when first used: what a person says of data is checked without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .augment import Augmentation, augmentation
    from .batches import Batches
    from .catalogue import DATASETS, load
    from .dataset import Dataset, Split
    from .splits import (
        LongTail,
        groups,
        holdout_split,
        is_imbalanced,
        parse_long_tail,
        share,
        thin,
        validation_split,
    )

__all__ = [
    "DATASETS",
    "Augmentation",
    "Batches",
    "Dataset",
    "LongTail",
    "Split",
    "augmentation",
    "groups",
    "holdout_split",
    "is_imbalanced",
    "load",
    "parse_long_tail",
    "share",
    "thin",
    "validation_split",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Augmentation": "augment",
        "Batches": "batches",
        "DATASETS": "catalogue",
        "Dataset": "dataset",
        "LongTail": "splits",
        "Split": "dataset",
        "augmentation": "augment",
        "groups": "splits",
        "holdout_split": "splits",
        "is_imbalanced": "splits",
        "load": "catalogue",
        "parse_long_tail": "splits",
        "share": "splits",
        "thin": "splits",
        "validation_split": "splits",
    },
)

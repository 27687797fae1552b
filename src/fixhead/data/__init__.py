"""Data sets as memory-mapped uint8 arrays, and the batches that a training loop takes from them."""

from .augment import Augmentation, augmentation
from .batches import Batches
from .catalogue import DATASETS, load
from .dataset import Dataset, Split
from .longtail import LongTail, groups, is_imbalanced, parse_long_tail, share, thin
from .splits import holdout_split, validation_split

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

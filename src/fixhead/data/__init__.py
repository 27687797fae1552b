"""Data sets as memory-mapped uint8 arrays, and the batches that a training loop takes from them."""

from .augment import Augmentation, augmentation
from .batches import Batches
from .catalogue import DATASETS, load
from .dataset import Dataset, Split
from .splits import holdout_split, validation_split

__all__ = [
    "DATASETS",
    "Augmentation",
    "Batches",
    "Dataset",
    "Split",
    "augmentation",
    "holdout_split",
    "load",
    "validation_split",
]

"""Augmentations on whole batches, on the images' own device, from explicit draws on the CPU."""

from .chain import Augmentation, Chain, augmentation
from .mixing import CutMix, Mixed, Mixing, Mixup
from .pixels import (
    ColourJitter,
    Cutout,
    HorizontalFlip,
    RandAugment,
    RandomCrop,
    RandomResizedCrop,
    TrivialAugment,
    crop,
    resized_crop,
)

__all__ = [
    "Augmentation",
    "Chain",
    "ColourJitter",
    "CutMix",
    "Cutout",
    "HorizontalFlip",
    "Mixed",
    "Mixing",
    "Mixup",
    "RandAugment",
    "RandomCrop",
    "RandomResizedCrop",
    "TrivialAugment",
    "augmentation",
    "crop",
    "resized_crop",
]

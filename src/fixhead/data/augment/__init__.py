"""Augmentations on whole batches, on the images' own device, from explicit draws on the CPU."""

from .chain import Augmentation, Chain, augmentation
from .colour import ColourJitter
from .cutout import Cutout
from .mixing import CutMix, Mixed, Mixing, Mixup
from .policies import RandAugment, TrivialAugment
from .shifts import HorizontalFlip, RandomCrop, RandomResizedCrop, crop, resized_crop

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

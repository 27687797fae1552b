"""Colour jitter with factors of its own for every image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._draws import beside

GREY = (0.2989, 0.587, 0.114)
"""The weights of red, green and blue in a grey level (ITU-R 601, as torchvision rounds them)."""


@dataclass(frozen=True)
class ColourJitter:
    """Each image blended by ``x' = f·x + (1 − f)·y``, f uniform in ``1 ± strength``.

    y is black for brightness, the mean grey level for contrast, the grey image for saturation.
    The factors are an image's own; the order of the three is drawn once per batch.

    Source: Krizhevsky et al. 2012; torchvision's ``ColorJitter`` (without hue).
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        strengths = torch.tensor([self.brightness, self.contrast, self.saturation])
        spread = torch.rand((len(images), 3), generator=generator) * 2 - 1
        factors = (1 + spread * strengths).clamp_(min=0)
        order = torch.randperm(3, generator=generator).tolist()
        return jitter(images, beside(images, factors), order)

    def __str__(self) -> str:
        return f"jitter:{self.brightness:g}:{self.contrast:g}:{self.saturation:g}"


def jitter(images: Tensor, factors: Tensor, order: list[int]) -> Tensor:
    """Brightness (0), contrast (1), saturation (2) by ``factors`` (N, 3), in the given order."""
    out = images.float()
    for which in order:
        factor = factors[:, which, None, None, None]
        out = torch.lerp(_other(out, which), out, factor).clamp_(0, 255)
    return out.round_().to(images.dtype)


def _other(images: Tensor, which: int) -> Tensor:
    if which == 0:
        return torch.zeros_like(images)
    grey = _grey(images)
    return (grey.mean(dim=(1, 2, 3), keepdim=True) if which == 1 else grey).expand_as(images)


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] != 3:
        return images
    weights = torch.tensor(GREY, device=images.device)[:, None, None]
    return (images * weights).sum(dim=1, keepdim=True)

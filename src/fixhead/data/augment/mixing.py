"""Mixing two images and their labels: mixup and CutMix.

``L = λ · L(x', y) + (1 − λ) · L(x', y')`` with one λ and one pairing per batch, as published.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixed:
    """Mixed images (N, C, H, W): ``weight`` of them ``labels`` (N,), the rest ``others`` (N,)."""

    images: Tensor
    labels: Tensor
    others: Tensor
    weight: float

    def loss(self, of: Callable[[Tensor], Tensor]) -> Tensor:
        """``λ · of(labels) + (1 − λ) · of(others)``; one call only where nothing was mixed."""
        if self.weight == 1.0:
            return of(self.labels)
        return self.weight * of(self.labels) + (1 - self.weight) * of(self.others)


class Mixing(Protocol):
    """A way to mix the images of a batch with each other."""

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mixed: ...


@dataclass(frozen=True)
class Mixup:
    """``x' = λ x + (1 − λ) x[π]``, λ ~ Beta(α, α). Zhang et al. 2018, eq. 1."""

    alpha: float = 1.0

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mixed:
        weight = _beta(self.alpha, generator)
        partner = _partners(images, generator)
        return Mixed(torch.lerp(images[partner], images, weight), labels, labels[partner], weight)

    def __str__(self) -> str:
        return f"mixup:{self.alpha:g}"


@dataclass(frozen=True)
class CutMix:
    """A box of ``1 − λ`` of the area comes from another image, λ ~ Beta(α, α).

    λ is then what is really left of the image: the box may reach over the edge. One box per batch.

    Source: Yun et al. 2019, section 3 and their code.
    """

    alpha: float = 1.0

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mixed:
        height, width = images.shape[2:]
        side = math.sqrt(1 - _beta(self.alpha, generator))
        top, bottom = _span(height, side, generator)
        left, right = _span(width, side, generator)
        partner = _partners(images, generator)
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
        weight = 1 - (bottom - top) * (right - left) / (height * width)
        return Mixed(mixed, labels, labels[partner], weight)

    def __str__(self) -> str:
        return f"cutmix:{self.alpha:g}"


def _partners(images: Tensor, generator: torch.Generator) -> Tensor:
    """A random permutation of the batch (N,), on the device of ``images``."""
    order = torch.randperm(len(images), generator=generator)
    return order.to(images.device, non_blocking=True)


def _beta(alpha: float, generator: torch.Generator) -> float:
    seed = int(torch.randint(1 << 62, (), generator=generator))
    return float(np.random.default_rng(seed).beta(alpha, alpha))


def _span(length: int, share: float, generator: torch.Generator) -> tuple[int, int]:
    """``share · length`` pixels round a uniformly drawn centre, cut off at both ends."""
    centre = int(torch.randint(length, (), generator=generator))
    half = int(length * share) // 2
    return max(centre - half, 0), min(centre + half, length)

"""Cutout: a square of each image goes to the mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._draws import beside


@dataclass(frozen=True)
class Cutout:
    """Zeros in a square of ``size`` pixels round a uniformly drawn centre, after normalisation.

    The centre lies anywhere in the image, so the square may reach over its edge; zero is the mean
    of every channel there.

    Source: DeVries & Taylor 2017.
    """

    size: int = 16

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        number, _, height, width = images.shape
        centres = beside(images, torch.rand((2, number), generator=generator))
        rows = self._hidden(centres[0], height)[:, None, :, None]
        columns = self._hidden(centres[1], width)[:, None, None, :]
        return images.masked_fill(rows & columns, 0.0)

    def _hidden(self, centres: Tensor, length: int) -> Tensor:
        start = (centres * length).floor().long() - self.size // 2
        place = torch.arange(length, device=centres.device)[None] - start[:, None]
        return (place >= 0) & (place < self.size)

    def __str__(self) -> str:
        return f"cutout:{self.size}"

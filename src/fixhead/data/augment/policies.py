"""RandAugment and TrivialAugment: torchvision's own, on groups of a batch.

torchvision draws one operation for all images that it is handed. A batch, which is in random order,
is therefore handed over in groups of ``GROUP`` images: an image sees each operation as often as it
should, and only images of one group share theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..._seeds import forked
from ..._torchvision import import_torchvision

GROUP = 8


@dataclass(frozen=True)
class TrivialAugment:
    """One operation of one strength, both uniform: Müller & Hutter 2021, torchvision's wide set."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return _in_groups(_transform("TrivialAugmentWide"), images, generator)

    def __str__(self) -> str:
        return "trivial"


@dataclass(frozen=True)
class RandAugment:
    """``operations`` in a row, each of ``magnitude`` of 30: Cubuk et al. 2020."""

    operations: int = 2
    magnitude: int = 9

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        transform = _transform("RandAugment", self.operations, self.magnitude)
        return _in_groups(transform, images, generator)

    def __str__(self) -> str:
        return f"randaugment:{self.operations}:{self.magnitude}"


@cache
def _transform(name: str, *values: int) -> Any:
    import_torchvision()
    from torchvision.transforms import v2

    return getattr(v2, name)(*values)


def _in_groups(transform: Any, images: Tensor, generator: torch.Generator) -> Tensor:
    seed = int(torch.randint(1 << 62, (), generator=generator))
    with forked(seed, "policy"):  # torchvision knows the global generator only
        return torch.cat([transform(group) for group in torch.split(images, GROUP)])

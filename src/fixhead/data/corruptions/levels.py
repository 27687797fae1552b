"""Between grey levels 0..255 and the numbers 0..1 of the published code, with its own rounding.

``np.uint8`` cuts off what is behind the point, and so do we: a corrupted image is half a level
darker on average than one that is rounded, here as in the published files.
"""

from __future__ import annotations

import torch
from torch import Tensor


def unit(images: Tensor) -> Tensor:
    """uint8 levels as float64 in 0..1."""
    return images.double() / 255.0


def levels(values: Tensor) -> Tensor:
    """``⌊255 · clip(x, 0, 1)⌋`` as uint8."""
    return (values.clamp(0, 1) * 255).to(torch.uint8)

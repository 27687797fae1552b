"""Numbers as JSON can hold them."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor


def plain(value: Tensor | float) -> Any:
    """A number, or nested lists of numbers; None where it is not finite."""
    return _finite(value.tolist() if isinstance(value, Tensor) else value)


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return value if math.isfinite(value) else None

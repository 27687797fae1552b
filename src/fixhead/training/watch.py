"""What may look at every validation pass without the loop knowing any measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor


class Watch(Protocol):
    """Sees one pass, and says in plain JSON what it saw; nothing in it waits for the device until
    ``finish``."""

    def add(self, points: Tensor, labels: Tensor) -> None:
        """What the class vectors see of a batch, (N, D), and labels (N,)."""

    def finish(self) -> Mapping[str, Any]: ...


MakeWatch = Callable[[], Watch]
"""One new Watch for each pass."""

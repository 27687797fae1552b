"""Class vectors as they come: a (K, d) tensor, or an object that makes rows when asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import stream


@runtime_checkable
class ImplicitVectors(Protocol):
    """Class vectors that are not stored: ``shape`` is (K, d), ``rows(labels)`` is (n, d)."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def rows(self, labels: Tensor) -> Tensor: ...


_BLOCK = 1 << 22

Vectors = Tensor | ImplicitVectors


class RowSource:
    """Rows of class vectors, raw or as unit rows in a chosen precision, a block at a time."""

    def __init__(self, vectors: Vectors, caller: str) -> None:
        if not isinstance(vectors, Tensor | ImplicitVectors):
            raise RequestError(
                f"{caller}() needs a (K, d) tensor or an object with shape and rows(labels), "
                f"got {type(vectors).__name__}"
            )
        shape = tuple(vectors.shape)
        if len(shape) != 2 or shape[0] < 2 or shape[1] < 1:
            raise RequestError(
                f"{caller}() needs vectors of shape (K, d) with K >= 2 and d >= 1, got {shape}"
            )
        if isinstance(vectors, Tensor) and not vectors.is_floating_point():
            raise RequestError(f"{caller}() needs floating vectors, got {vectors.dtype}")
        self.classes, self.features = shape
        self._vectors = vectors.detach() if isinstance(vectors, Tensor) else vectors
        self.device = (
            vectors.device if isinstance(vectors, Tensor) else self.raw(torch.tensor([0])).device
        )
        self.caller = caller

    @property
    def widest(self) -> torch.dtype:
        """Float64, where the device has it."""
        return torch.float32 if self.device.type == "mps" else torch.float64

    def raw(self, labels: Tensor) -> Tensor:
        """The rows as they are stored or made."""
        if isinstance(self._vectors, Tensor):
            return self._vectors[labels]
        return self._vectors.rows(labels)

    def labels(self, start: int, stop: int) -> Tensor:
        """The classes start … stop − 1, as far as there are any."""
        return torch.arange(start, min(stop, self.classes), device=self.device)

    def slice(self, start: int, stop: int) -> Tensor:
        """Rows start … stop − 1 as they are stored or made, as far as there are any."""
        if isinstance(self._vectors, Tensor):
            return self._vectors[start:stop]
        return self._vectors.rows(self.labels(start, stop))

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Bounds of consecutive blocks that cover all rows, about 32 MiB of float64 each."""
        height = max(1, _BLOCK // self.features)
        for start in range(0, self.classes, height):
            yield start, min(start + height, self.classes)

    def unit_blocks(self) -> Iterator[Tensor]:
        """All unit rows in the widest type, block by block."""
        for start, stop in self.blocks():
            yield self.unit(self.slice(start, stop), self.widest)

    def unit(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """w / ‖w‖ computed in float64, returned in ``dtype``.

        Raises:
            RequestError: a row is zero or not finite, and so has no direction.
        """
        wide = rows.to(self.widest)
        norms: Tensor = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
        directed = torch.isfinite(norms) & (norms > 0)
        if not bool(directed.all()):
            bad = int((~directed).nonzero()[0, 0])
            raise RequestError(
                f"{self.caller}() needs rows that are finite and not zero, got row "
                f"{wide[bad, :4].tolist()}{' …' if self.features > 4 else ''}; "
                "mend the vectors first"
            )
        return (wide / norms).to(dtype)


def sample_labels(source: RowSource, most: int) -> Tensor:
    """So many classes, seeded and in ascending order; all where there are no more."""
    if most >= source.classes:
        return source.labels(0, source.classes)
    generator = stream(0, "classes", source.classes)
    chosen = torch.randperm(source.classes, generator=generator)[:most]
    return chosen.sort().values.to(source.device)

"""Cosines between class vectors: the K × K matrix, and their distribution without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .._errors import RequestError
from ..logits import unit
from ..vectors.rows import RowSource, Vectors
from .statistics import check_sizes, full_precision

_TILE = 2_048
_FLOAT64_WORK = 1e11
"""Products up to which tiles are float64 (a few seconds on two cores); float32 beyond."""


@dataclass(frozen=True)
class CosineStatistics:
    """cos(w_i, w_j) over the K(K−1)/2 pairs i < j.

    counts (B,) int64 over B equal bins of [−1, 1]. nearest (K,): each class's largest cosine with
    another one.
    """

    classes: int
    minimum: float
    maximum: float
    mean: float
    std: float
    counts: Tensor
    nearest: Tensor

    @property
    def edges(self) -> Tensor:
        """The B + 1 borders of the bins."""
        return torch.linspace(-1, 1, self.counts.numel() + 1, dtype=torch.float64)

    def quantile(self, share: float) -> float:
        """The cosine below which ``share`` of the pairs lie, right to one bin (2/B).

        Straight inside a bin; never outside [minimum, maximum].
        """
        if not 0 <= share <= 1:
            raise RequestError(f"quantile() needs 0 <= share <= 1, got {share!r}")
        reached = self.counts.cumsum(0).double()
        wanted = share * reached[-1]
        cell = int(torch.searchsorted(reached, wanted).clamp(max=self.counts.numel() - 1))
        before = reached[cell] - self.counts[cell]
        inside = (wanted - before) / self.counts[cell].clamp(min=1)
        value = float(self.edges[cell] + inside * 2 / self.counts.numel())
        return min(max(value, self.minimum), self.maximum)


def cosine_matrix(vectors: Tensor) -> Tensor:
    """C_ij = ⟨w_i, w_j⟩ / (‖w_i‖ ‖w_j‖) of vectors (K, d) → (K, K), in float64, within [−1, 1].

    Source: Shalev et al. 2020, Figure 2.
    """
    rows = unit(vectors.double())
    return (rows @ rows.T).clamp(-1.0, 1.0)


@torch.no_grad()
def cosine_statistics(vectors: Vectors, *, bins: int = 2_000) -> CosineStatistics:
    """Least, mean, largest cosine, spread, histogram and nearest class of vectors (K, d).

    K²d/2 products over tiles of 2,048 × 2,048: 100,000 classes need no K² memory. Large problems
    run in float32; the mean is in float64 always, from ‖Σ_j w_j/‖w_j‖‖².

    Raises:
        RequestError: fewer than two rows, not floating, or a row without a direction.
    """
    check_sizes("cosine_statistics", bins=bins)
    source = RowSource(vectors, "cosine_statistics")
    work = source.classes**2 * source.features
    dtype = source.widest if work <= _FLOAT64_WORK else torch.float32
    sums = _Sums(source, dtype, bins)
    with full_precision(source.device):
        for row, column, tile in _tiles(source, dtype):
            sums.add(row, column, tile)
    return sums.finish()


def _tiles(source: RowSource, dtype: torch.dtype) -> Iterator[tuple[int, int, Tensor]]:
    """(first row, first column, cosines) of the tiles on and above the diagonal."""
    for row in range(0, source.classes, _TILE):
        left = source.unit(source.slice(row, min(row + _TILE, source.classes)), dtype)
        for column in range(row, source.classes, _TILE):
            stop = min(column + _TILE, source.classes)
            right = left if column == row else source.unit(source.slice(column, stop), dtype)
            yield row, column, (left @ right.T).clamp_(-1.0, 1.0)


class _Sums:
    """What is kept of the tiles; everything stays on the device until the end."""

    def __init__(self, source: RowSource, dtype: torch.dtype, bins: int) -> None:
        self.mean = _mean(source)
        self.pairs = source.classes * (source.classes - 1) // 2
        self.squares = torch.zeros((), dtype=source.widest, device=source.device)
        self.counts = torch.zeros(bins, dtype=torch.int64, device=source.device)
        self.lowest = torch.ones((), dtype=dtype, device=source.device)
        self.nearest = torch.full((source.classes,), -1.0, dtype=dtype, device=source.device)

    def add(self, row: int, column: int, tile: Tensor) -> None:
        values = tile
        if row == column:
            height = tile.shape[0]
            above = torch.triu_indices(height, height, offset=1, device=tile.device)
            values = tile[above[0], above[1]]
            tile.fill_diagonal_(-1.0)  # no class is its own neighbour
        self._nearer(row, tile.amax(dim=1))
        if row != column:
            self._nearer(column, tile.amax(dim=0))
        if values.numel():
            self.lowest = torch.minimum(self.lowest, values.amin())
            self.squares += (values - self.mean).square_().sum(dtype=self.squares.dtype)
            # A tile has 2²² values at most, which float32 counts exactly.
            found = torch.histc(values, bins=self.counts.numel(), min=-1.0, max=1.0)
            self.counts += found.round().long()

    def _nearer(self, start: int, values: Tensor) -> None:
        part = self.nearest[start : start + values.numel()]
        torch.maximum(part, values, out=part)

    def finish(self) -> CosineStatistics:
        return CosineStatistics(
            classes=self.nearest.numel(),
            minimum=float(self.lowest),
            maximum=float(self.nearest.max()),
            mean=self.mean,
            std=float((self.squares / self.pairs).sqrt()),
            counts=self.counts.cpu(),
            nearest=self.nearest.cpu(),
        )


def _mean(source: RowSource) -> float:
    """(‖Σ_j ŵ_j‖² − K) / (K(K−1)) with unit rows ŵ: the mean cosine over pairs."""
    total = torch.zeros(source.features, dtype=source.widest, device=source.device)
    for rows in source.unit_blocks():
        total += rows.sum(dim=0)
    classes = source.classes
    return float((total.square().sum() - classes) / (classes * (classes - 1)))

"""The largest logit of every row where classes are chunks: rows of points first, and no wait.

Every tile leaves its own largest behind; which of them is the largest is asked once, at the end.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .tiles import ChunkTiles, product
from .unshifted import height


def first(tiles: ChunkTiles, points: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The largest logits and their classes, (N, 1) each."""
    count, classes, device = len(points), tiles.classes, points.device
    kind = torch.bfloat16 if tiles.half else points.dtype
    lines = height(tiles, points, kind)
    starts = range(0, classes, lines)
    buffer = points.new_empty(count * lines)
    best = points.new_empty(len(starts), count)
    places = torch.empty(len(starts), count, dtype=torch.int64, device=device)
    narrow = points.to(kind)
    for number, start in enumerate(starts):
        rows = tiles.make(start, min(start + lines, classes)).to(device, kind)
        logits = buffer[: count * len(rows)].view(count, -1)
        product(narrow, rows.t(), out=logits)
        if bias is not None:
            logits.add_(bias[start : start + len(rows)])
        torch.max(logits, dim=1, out=(best[number], places[number]))
    values, tile = best.max(dim=0, keepdim=True)
    return values.t(), (places.gather(0, tile) + tile * lines).t()

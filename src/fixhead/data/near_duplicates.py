"""Images on one side of a cut that look almost like one on the other: frames of one video, say.

Each image is shrunk to ``GRID`` × ``GRID`` mean grey levels g, and two are alike where

    ⟨g − ḡ, h − h̄⟩ / (‖g − ḡ‖ ‖h − h̄‖) ≥ ``ALIKE``.

Small images (below ``LEAST_SIZE``) are not judged: signs of 8 × 8 pixels are alike by nature.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .dataset import PixelSubset, Split, chunks

GRID = 16
ALIKE = 0.995
LEAST_SIZE = 24
FLAT = 2.0
"""An image whose shrunken levels deviate by less than this (of 255) is a blank."""

MOST_BYTES = 1 << 29
"""So much of the training part is looked at, evenly spaced; and ``MOST_IMAGES`` of the other."""
MOST_IMAGES = 1000


def near_duplicates(train: Split, other: Split) -> tuple[int, int]:
    """How many images of ``other`` look almost like a training image, and how many were judged."""
    size = min(train.images.shape[2:], default=0)
    if size < LEAST_SIZE or not len(other):
        return 0, 0
    image_bytes = int(np.prod(train.images.shape[1:]))
    asked = _small(other, min(len(other), MOST_IMAGES))
    known = _small(train, min(len(train), max(1, MOST_BYTES // image_bytes)))
    best = np.full(len(asked), -1.0, dtype=np.float32)
    for start in range(0, len(known), 4096):
        best = np.maximum(best, (asked @ known[start : start + 4096].T).max(axis=1))
    return int((best >= ALIKE).sum()), len(asked)


def _small(split: Split, number: int) -> NDArray[np.float32]:
    """Shrunken images as unit rows (n, GRID²); zeros for blanks."""
    places = np.unique(np.linspace(0, len(split) - 1, number).astype(np.int64))
    rows = []
    for chunk in chunks(PixelSubset(split.images, places)):
        grey = chunk.mean(axis=1, dtype=np.float32)
        for axis in (1, 2):
            edges = np.linspace(0, grey.shape[axis], GRID + 1).astype(int)
            widths = np.diff(edges).astype(np.float32)
            shape = [1, 1, 1]
            shape[axis] = GRID
            grey = np.add.reduceat(grey, edges[:-1], axis=axis) / widths.reshape(shape)
        flat = grey.reshape(len(grey), -1)
        flat = flat - flat.mean(axis=1, keepdims=True)
        length = np.linalg.norm(flat, axis=1, keepdims=True)
        rows.append(np.where(length > FLAT * GRID, flat / np.maximum(length, 1e-6), 0.0))
    return np.concatenate(rows).astype(np.float32)

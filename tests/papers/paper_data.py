"""Small made data in the papers' own file formats, for recipes that are only tried."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np


def mnist(folder: Path, training: int = 4_096, test: int = 60) -> Path:
    """The four idx files: noise, brighter by class, so that something can be learned."""
    folder.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(0)
    for part, number in (("train", training), ("t10k", test)):
        labels = (np.arange(number) % 10).astype(np.uint8)
        images = draws.integers(0, 100, (number, 28, 28)) + 12 * labels[:, None, None]
        for kind, array in (("images-idx3", images.astype(np.uint8)), ("labels-idx1", labels)):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            path = folder / f"{part}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(head + array.tobytes(), 1))
    return folder

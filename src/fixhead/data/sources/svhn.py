"""SVHN, cropped digits: MATLAB files with X (32, 32, 3, N) of uint8 and y (N, 1) in 1..10.

The label 10 is the digit 0. ``svhn`` trains on the 73,257 training images, ``svhn-extra`` on those
and the 531,131 easier ones of ``extra_32x32.mat``, as Yang et al. 2022 do.

Source: Netzer et al. 2011.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..._errors import RequestError, require
from ..cache import Entry
from .arrays import Arrays, open_arrays
from .request import Request


def load_svhn(request: Request) -> Entry:
    """SVHN with its own training part."""
    return _load(request, ("train",))


def load_svhn_extra(request: Request) -> Entry:
    """SVHN with the training and the extra part together."""
    return _load(request, ("train", "extra"))


def _load(request: Request, training: tuple[str, ...]) -> Entry:
    files = {
        part: request.find((f"{part}_32x32.mat",), ("svhn", "SVHN")) for part in (*training, "test")
    }

    def read(part: str) -> Arrays:
        chosen = training if part == "train" else ("test",)
        arrays = [read_mat(files[name]) for name in chosen]
        return Arrays(*(np.concatenate(both) for both in zip(*arrays, strict=True)))

    return open_arrays(request, files.values(), lambda: "0123456789", read)


def read_mat(path: Path) -> Arrays:
    """Images (N, 3, 32, 32) and labels 0..9 of one file.

    Raises:
        RequestError: cut off, no MATLAB file, or without the arrays X and y of those shapes.
    """
    loadmat = require("scipy.io", extra="lab").loadmat
    try:
        content = loadmat(path, variable_names=["X", "y"])
    except Exception as error:  # scipy raises many kinds on broken files
        raise RequestError(
            f"{path} is not a whole MATLAB file ({type(error).__name__}: {error}); download it "
            "again"
        ) from error
    images, labels = content.get("X"), content.get("y")
    if images is None or labels is None:
        raise RequestError(f"{path} needs the arrays X and y, and lacks one")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise RequestError(f"{path} needs X of uint8 (32, 32, 3, N), got {images.shape}")
    digits = labels.reshape(-1).astype(np.int64)
    if len(digits) and (digits.min() < 1 or digits.max() > 10):
        raise RequestError(f"{path} needs labels 1 to 10, got {digits.min()} to {digits.max()}")
    return Arrays(images.transpose(3, 2, 0, 1), digits % 10)

"""Sets whose files hold plain arrays: read one part at a time, written straight into the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._errors import RequestError
from ..cache import Entry, Writer, cached
from ..dataset import Labels
from .request import Request


class Arrays(NamedTuple):
    """Images (N, C, H, W) of uint8 and labels (N,)."""

    images: NDArray[np.uint8]
    labels: Labels


def open_arrays(
    request: Request,
    files: Iterable[Path],
    classes: Callable[[], Iterable[str]],
    read: Callable[[str], Arrays],
    notes: Iterable[str] = (),
) -> Entry:
    """The entry that ``read("train")`` and ``read("test")`` make, cached by their ``files``.

    Raises:
        RequestError: images and labels of different numbers.
    """

    def build(writer: Writer) -> None:
        for part in ("train", "test"):
            images, labels = read(part)
            same_number(f"the {part} files of {request.name!r}", len(images), len(labels))
            writer.images(part, images.shape)[:] = images
            writer.labels(part, np.asarray(labels, dtype=np.int64))
        writer.describe(classes(), notes)

    key = {"kind": "arrays", "name": request.name, "files": request.fingerprint(files)}
    return cached(request.name, key, build, cache_dir=request.cache_dir)


def same_number(what: str, images: int, labels: int) -> None:
    """Refuse different numbers of images and labels."""
    if images != labels:
        raise RequestError(
            f"{what} need the same number of images and labels, got {images} and {labels}"
        )

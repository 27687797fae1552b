"""One test image under every corruption, as pictures inside the record.

``data:`` addresses need no file beside the record: PNG up to 96 pixels, JPEG of quality 90 above,
because noise at 224 pixels takes six times that as PNG.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .._errors import require
from ..data import Split

PNG_PIXELS = 96


class Example:
    """Collects the corrupted copies of the first test image that every run recognises.

    Copies of another order than the test set's (a published set that was packed anew) have their
    first image instead, and no picture of how it was before.
    """

    def __init__(self, test: Split, clean: Tensor) -> None:
        self._test = test
        self._index = int(clean.int().argmax())  # 0 where none is recognised
        self._pictures: list[dict[str, Any]] = []
        self._same = True

    def add(self, kind: str, severity: int, split: Split, right: Mapping[str, Tensor]) -> None:
        """``right[head]`` (N,) is the share of the head's runs that recognise each image."""
        same = np.array_equal(split.labels, self._test.labels)
        self._same = self._same and same
        index = self._index if same else 0
        picture = {
            "kind": kind,
            "severity": severity,
            "label": int(split.labels[index]),
            "recognised": {head: float(found[index]) for head, found in right.items()},
            "image": data_address(split.images[index]),
        }
        self._pictures.append(picture)

    def described(self) -> dict[str, Any]:
        """``index``, ``label`` and ``image`` of the uncorrupted picture, and the corrupted ones."""
        before: dict[str, Any] = {"index": None, "label": None, "image": None}
        if self._same:
            before = {
                "index": self._index,
                "label": int(self._test.labels[self._index]),
                "image": data_address(self._test.images[self._index]),
            }
        return before | {"pictures": self._pictures}


def data_address(pixels: NDArray[np.uint8]) -> str:
    """uint8 pixels (C, H, W) as a ``data:`` address that a page can show."""
    pixels = np.asarray(pixels)
    image = require("PIL.Image", extra="lab").fromarray(
        pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    )
    small = max(pixels.shape[1:]) <= PNG_PIXELS
    buffer = io.BytesIO()
    if small:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=90)
    text = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/{'png' if small else 'jpeg'};base64,{text}"

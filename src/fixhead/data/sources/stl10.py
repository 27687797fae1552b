"""STL-10, labelled part: ``train_X.bin`` and ``test_X.bin`` of (N, 3, 96, 96), column by column.

Labels are 1..10 in ``*_y.bin``; the unlabelled pictures and the ten folds are not used.

Source: Coates, Lee, Ng 2011.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ..._errors import RequestError
from ..cache import Entry
from .archive import find_members, member_files, read_members
from .arrays import Arrays, open_arrays
from .lists import as_text
from .request import Request

FOLDER = "stl10_binary"
ARCHIVE = "stl10_binary.tar.gz"
FILES = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "class_names.txt")
BYTES = 3 * 96 * 96


def load_stl10(request: Request) -> Entry:
    """The 5,000 labelled training and 8,000 test images of 96 × 96."""
    place = find_members(request, FOLDER, ARCHIVE)

    @cache
    def members() -> dict[str, bytes]:
        return dict(read_members(place, FOLDER, FILES))

    def read(part: str) -> Arrays:
        return _arrays(members()[f"{part}_X.bin"], members()[f"{part}_y.bin"], part)

    def classes() -> list[str]:
        return as_text(members()["class_names.txt"], "class_names.txt").split()

    return open_arrays(request, member_files(place, FILES), classes, read)


def _arrays(images: bytes, labels: bytes, part: str) -> Arrays:
    if len(images) % BYTES:
        raise RequestError(
            f"{part}_X.bin needs whole images of {BYTES} bytes, got {len(images)} bytes in all; "
            "download it again"
        )
    columns = np.frombuffer(images, dtype=np.uint8).reshape(-1, 3, 96, 96)
    # Stored column by column: the last two axes are (x, y).
    return Arrays(columns.transpose(0, 1, 3, 2), np.frombuffer(labels, np.uint8).astype(int) - 1)

"""The confusions of a trained model with pictures: its worst pairs, and test images of each.

Pictures go into one contact sheet (WebP) beside the record, so that a page can be made again from
the records alone. Tile t of a sheet with C columns stands in row t // C and column t % C.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .._files import replace_file
from ..data.dataset import Pixels, Split
from .outputs import Evaluation

PAIRS, EACH = 24, 4
"""So many ordered pairs are entries, with so many images each."""
LARGEST = 64
"""Larger images are made smaller, to so many pixels a side."""
COLUMNS = 16

Pictures = NDArray[np.uint8]


def confused_examples(
    images: Pixels,
    labels: Sequence[int] | NDArray[np.int64],
    predictions: Tensor,
    confusion: Tensor,
) -> tuple[dict[str, Any], bytes] | None:
    """The worst pairs of ``confusion`` (K, K) with tile numbers, and the sheet that they point to.

    A pair holds the ``label``, the class it was ``taken_for``, how many of its ``images`` were
    (``count``), and ``tiles`` of the first of them; ``classes`` has a tile of an image of each
    class involved that was put right. None for feature arrays, and where nothing was confused.
    """
    if len(images.shape) != 4 or images.shape[1] not in (1, 3):
        return None
    pairs = worst_pairs(confusion)
    if not pairs:
        return None
    truth, predicted = np.asarray(labels), predictions.numpy()
    indices: list[int] = []
    entries = []
    for label, other, count in pairs:
        chosen = np.flatnonzero((truth == label) & (predicted == other))[:EACH]
        numbers = list(range(len(indices), len(indices) + len(chosen)))
        indices += chosen.tolist()
        of = int(confusion[label].sum())
        entries.append(
            {"label": label, "taken_for": other, "count": count, "images": of, "tiles": numbers}
        )
    right: dict[str, int] = {}
    for label in sorted({label for pair in pairs for label in pair[:2]}):
        good = np.flatnonzero((truth == label) & (predicted == label))
        if len(good):
            right[str(label)] = len(indices)
            indices.append(int(good[0]))
    tiles = _tiles(images, indices)
    facts = {"tile": tiles.shape[1], "columns": COLUMNS, "number": len(indices)}
    return facts | {"pairs": entries, "classes": right}, _sheet(tiles)


def worst_pairs(confusion: Tensor, most: int = PAIRS) -> list[tuple[int, int, int]]:
    """(label, taken for, count) of the ordered pairs with the most errors; ties in label order."""
    wrong = confusion.clone()
    wrong.fill_diagonal_(0)
    counts = wrong.flatten()
    order = counts.argsort(descending=True, stable=True)[:most].tolist()
    size = len(wrong)
    return [(at // size, at % size, int(counts[at])) for at in order if counts[at] > 0]


def _tiles(images: Pixels, indices: Sequence[int]) -> Pictures:
    """(n, side, side, C): the images of these indices, in this order, made smaller where large."""
    ascending, back = np.unique(np.asarray(indices), return_inverse=True)  # files are read in order
    pixels = np.asarray(images[ascending])[back].transpose(0, 2, 3, 1)
    if max(pixels.shape[1:3]) <= LARGEST:
        return np.ascontiguousarray(pixels)
    small = [_picture(one).resize((LARGEST, LARGEST), Image.Resampling.BOX) for one in pixels]
    return np.stack([np.asarray(one).reshape(LARGEST, LARGEST, -1) for one in small])


def _sheet(tiles: Pictures) -> bytes:
    """All tiles in rows of COLUMNS, as WebP: without loss for small or grey pictures."""
    number, height, width, channels = tiles.shape
    rows = -(-number // COLUMNS)
    sheet = np.zeros((rows * height, COLUMNS * width, channels), np.uint8)
    for at, tile in enumerate(tiles):
        row, column = divmod(at, COLUMNS)
        sheet[row * height :][:height, column * width :][:, :width] = tile
    plain = channels == 1 or height <= 16
    out = io.BytesIO()
    _picture(sheet).save(out, "WEBP", lossless=plain, quality=88, method=4)
    return out.getvalue()


def _picture(pixels: Pictures) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


MAX_CLASSES = 2_000
"""Above so many classes no pairs are searched."""


def save_examples(folder: Path, file: str, split: Split, test: Evaluation) -> dict[str, Any] | None:
    """What ``confused_examples`` says, with the sheet written to ``folder/file``; None without."""
    if test.classes > MAX_CLASSES:
        return None
    examples = confused_examples(split.images, split.labels, test.predictions, test.confusion)
    if examples is None:
        return None
    facts, sheet = examples
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    replace_file(folder / file, lambda draft: draft.write_bytes(sheet))
    return facts | {"file": file}

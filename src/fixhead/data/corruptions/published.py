"""The published corrupted sets: CIFAR-10-C, CIFAR-100-C and Tiny-ImageNet-C, read as they lie.

``CIFAR-10-C/KIND.npy`` holds 5 × N images (N, 32, 32, 3), severity by severity, in the order of the
test set, and ``labels.npy`` their labels. ``Tiny-ImageNet-C/KIND/SEVERITY/ID/*.JPEG`` is a tree.

Source: Hendrycks & Dietterich 2019.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..._errors import RequestError
from ..also import match_classes, read_npy
from ..dataset import Dataset, Split
from ..encoded import Streamed
from ..sources.arrays import same_number
from ..sources.folder import scan
from .tables import kind_named

FILES = {"jpeg": "jpeg_compression", "elastic": "elastic_transform"}
SEVERITIES = 5


def load_published(folder: Path, kind: str, severity: int, like: Dataset) -> Split:
    """One kind and severity of a published set, with the labels of ``like``.

    ``folder`` is the set's own (``.../CIFAR-10-C``). Arrays are memory-mapped.

    Raises:
        RequestError: missing or broken files, a number of images that is not 5 × N, images of
            another size, labels out of range, classes that ``like`` does not have or that the
            set lacks (another data set's corrupted copy).
    """
    place = published_place(folder, kind, severity)
    if place.is_dir():
        return _from_tree(place, like)
    return _from_arrays(folder, place.name, severity, like)


def published_place(folder: Path, kind: str, severity: int) -> Path:
    """The array file, or the folder of the tree, that holds this kind and severity.

    Raises:
        RequestError: neither is there.
    """
    name = kind_named(kind)
    file = FILES.get(name, name.replace("-", "_"))
    if severity not in range(1, SEVERITIES + 1):
        raise RequestError(f"severity needs a whole number from 1 to 5, got {severity}")
    array, tree = folder / f"{file}.npy", folder / file / str(severity)
    if array.is_file() and (folder / "labels.npy").is_file():
        return array
    if tree.is_dir():
        return tree
    raise RequestError(
        f"{folder} needs {file}.npy with labels.npy, or the folder {file}/{severity}, and has "
        "neither; give the folder of CIFAR-10-C, CIFAR-100-C or Tiny-ImageNet-C"
    )


def _from_arrays(folder: Path, file: str, severity: int, like: Dataset) -> Split:
    images = read_npy(folder / file, mapped=True)
    labels = read_npy(folder / "labels.npy")
    same_number(str(folder / file), len(images), len(labels))
    if len(images) % SEVERITIES or images.dtype != np.uint8 or images.ndim != 4:
        raise RequestError(
            f"{folder / file} needs 5 severities of uint8 images (N, H, W, C), got {images.dtype} "
            f"of shape {images.shape}"
        )
    number = len(images) // SEVERITIES
    part = slice((severity - 1) * number, severity * number)
    pixels = np.ascontiguousarray(images[part].transpose(0, 3, 1, 2))
    return _checked(Split(pixels, labels[part]), folder / file, like)


def _from_tree(folder: Path, like: Dataset) -> Split:
    tree = scan(folder)
    places = match_classes(tree.classes, like.classes, str(folder))
    images = Streamed(tree.part.items, like.channels, like.image_size)
    return _checked(Split(images, places[tree.labels]), folder, like)


def _checked(split: Split, file: Path, like: Dataset) -> Split:
    wanted = like.train.images.shape[1:]
    if split.images.shape[1:] != wanted:
        raise RequestError(
            f"{file} needs images of {wanted} (channels, height, width), got "
            f"{split.images.shape[1:]}"
        )
    if len(split) and not 0 <= split.labels.min() <= split.labels.max() < len(like.classes):
        raise RequestError(f"{file} needs labels from 0 to {len(like.classes) - 1}")
    missing = np.flatnonzero(split.counts(len(like.classes)) == 0)
    if len(missing):
        raise RequestError(
            f"{file} needs images of all classes of {like.name!r}, and has none of "
            f"{like.classes[missing[0]]!r}; is it the corrupted copy of another data set?"
        )
    return split

"""Another test set for models trained on a data set: the same classes, other pictures.

``cifar10.1-v4`` and ``cifar10.1-v6`` (Recht et al. 2018), the test part of any named data set, a
folder ``DIR/CLASS/*`` (all of it) or one with a test part (only that), and the published corrupted
sets CIFAR-10-C, CIFAR-100-C and Tiny-ImageNet-C. Classes are matched by name.

``CIFAR-10-C/KIND.npy`` holds 5 × N images (N, 32, 32, 3), severity by severity, in the order of the
test set, and ``labels.npy`` their labels. ``Tiny-ImageNet-C/KIND/SEVERITY/ID/*.JPEG`` is a tree
(Hendrycks & Dietterich 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import RequestError
from .catalogue import DATASETS, load
from .corruptions.tables import kind_named
from .dataset import Dataset, Labels, Split
from .encoded import Decoding, Streamed
from .sources.arrays import read_npy, same_number
from .sources.folder import passed_over, scan, tree_to_test
from .sources.request import DataRequest

MEMORY_BYTES = 1 << 30
"""Folders that decode to less are decoded once, larger ones whenever they are read."""

CIFAR10_1 = {"cifar10.1-v4": "v4", "cifar10.1-v6": "v6"}
CIFAR10_1_FOLDERS = ("CIFAR-10.1", "cifar-10.1", "cifar10.1", "datasets")
CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


@dataclass(frozen=True, eq=False)
class ShiftedSet:
    """A further test set whose labels are already those of the data set that was trained on."""

    name: str
    title: str
    split: Split
    notes: tuple[str, ...] = ()


def load_shifted_set(
    name_or_path: str,
    like: Dataset,
    *,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
) -> ShiftedSet:
    """The test set ``name_or_path`` with the classes, channels and image size of ``like``.

    Raises:
        RequestError: an unknown set, a class that ``like`` does not have, or another image size
            where images cannot be resized.
    """
    if name_or_path in CIFAR10_1:
        request = DataRequest(name_or_path, data_dir)
        split, title = (
            _read_cifar10_1(request, CIFAR10_1[name_or_path]),
            f"CIFAR-10.1 ({name_or_path[-2:]})",
        )
        return _matched(name_or_path, title, split, CIFAR10, like)
    if name_or_path in DATASETS:
        size = like.image_size if DATASETS[name_or_path].resizable else None
        other = load(name_or_path, data_dir=data_dir, cache_dir=cache_dir, image_size=size)
        return _matched(other.name, other.title, other.test, other.classes, like)
    path = Path(name_or_path).expanduser()
    if not path.is_dir():
        raise RequestError(
            f"--also needs one of {', '.join([*CIFAR10_1, *DATASETS])}, or a folder of images, got "
            f"{name_or_path!r}"
        )
    return _from_folder(path, like)


def match_classes(found: tuple[str, ...], known: tuple[str, ...], where: str) -> Labels:
    """For each name in ``found`` the index of that class in ``known``: (len(found),).

    Names agree regardless of case, and of ``_`` or ``-`` for a space; ``n01443537`` agrees with
    ``n01443537: goldfish``.

    Raises:
        RequestError: a name that ``known`` lacks, or two that mean one class.
    """
    index: dict[str, int] = {}
    for number, name in enumerate(known):
        for form in {_plain(name), _plain(name.partition(":")[0])}:
            index.setdefault(form, number)
    strange = [name for name in found if _plain(name) not in index and _id(name) not in index]
    if strange:
        raise RequestError(
            f"{where} needs the classes of the training data ({', '.join(known[:3])}, ...), got "
            f"{', '.join(strange[:3])}{', ...' if len(strange) > 3 else ''}"
        )
    places = [index.get(_plain(name), index.get(_id(name), -1)) for name in found]
    if len(set(places)) < len(places):
        raise RequestError(f"{where} has two classes that are one class of the training data")
    return np.asarray(places, dtype=np.int64)


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").replace("-", " ").casefold().split())


def _id(name: str) -> str:
    return _plain(name.partition(":")[0])


def _matched(
    name: str, title: str, split: Split, classes: tuple[str, ...], like: Dataset
) -> ShiftedSet:
    shape, wanted = split.images.shape[1:], like.train.images.shape[1:]
    if shape != wanted:
        raise RequestError(
            f"--also {name} needs images of {wanted} (channels, height, width), got {shape}"
        )
    labels = match_classes(classes, like.classes, f"--also {name}")[split.labels]
    return ShiftedSet(name, title, Split(split.images, labels))


def _from_folder(path: Path, like: Dataset) -> ShiftedSet:
    tree = tree_to_test(path)
    places = match_classes(tree.classes, like.classes, f"--also {path}")
    items = tree.part.items
    pixels: Any = Streamed(items, Decoding(like.image_size, like.channels, like.bits))
    if int(np.prod(pixels.shape)) <= MEMORY_BYTES:
        pixels = pixels[:]
    notes = (passed_over(tree.passed_over),) if tree.passed_over else ()
    return ShiftedSet(path.name, path.resolve().name, Split(pixels, places[tree.labels]), notes)


def _read_cifar10_1(request: DataRequest, version: str) -> Split:
    files = [
        request.find((f"cifar10.1_{version}_{what}.npy",), CIFAR10_1_FOLDERS)
        for what in ("data", "labels")
    ]
    images, labels = (read_npy(file) for file in files)
    if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3):
        raise RequestError(f"{files[0]} needs uint8 (N, 32, 32, 3), got {images.shape}")
    same_number(str(files[0]), len(images), len(labels))
    return Split(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels)


PUBLISHED_NAMES = {"jpeg": "jpeg_compression", "elastic": "elastic_transform"}
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
    file = PUBLISHED_NAMES.get(name, name.replace("-", "_"))
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
    images = Streamed(tree.part.items, Decoding(like.image_size, like.channels, like.bits))
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

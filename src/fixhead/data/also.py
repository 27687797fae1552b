"""Another test set for models trained on a data set: the same classes, other pictures.

``cifar10.1-v4`` and ``cifar10.1-v6`` (Recht et al. 2018), the test part of any named data set, or a
folder ``DIR/CLASS/*`` (all of it) or one with a test part (only that). Classes are matched by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import RequestError
from .catalogue import DATASETS, load
from .dataset import Dataset, Labels, Split
from .encoded import Streamed
from .sources.arrays import same_number
from .sources.folder import passed_over, trees
from .sources.request import Request

MEMORY_BYTES = 1 << 30
"""Folders that decode to less are decoded once, larger ones whenever they are read."""

CIFAR10_1 = {"cifar10.1-v4": "v4", "cifar10.1-v6": "v6"}
PLACES = ("CIFAR-10.1", "cifar-10.1", "cifar10.1", "datasets")
CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


@dataclass(frozen=True, eq=False)
class Extra:
    """A further test set whose labels are already those of the data set that was trained on."""

    name: str
    title: str
    split: Split
    notes: tuple[str, ...] = ()


def load_also(
    name_or_path: str,
    like: Dataset,
    *,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
) -> Extra:
    """The test set ``name_or_path`` with the classes, channels and image size of ``like``.

    Raises:
        RequestError: an unknown set, a class that ``like`` does not have, or another image size
            where images cannot be resized.
    """
    if name_or_path in CIFAR10_1:
        request = Request(name_or_path, data_dir)
        split, title = (
            _cifar10_1(request, CIFAR10_1[name_or_path]),
            f"CIFAR-10.1 ({name_or_path[-2:]})",
        )
        return _fitting(name_or_path, title, split, CIFAR10, like)
    if name_or_path in DATASETS:
        size = like.image_size if DATASETS[name_or_path].resizable else None
        other = load(name_or_path, data_dir=data_dir, cache_dir=cache_dir, image_size=size)
        return _fitting(other.name, other.title, other.test, other.classes, like)
    path = Path(name_or_path).expanduser()
    if not path.is_dir():
        raise RequestError(
            f"--also needs one of {', '.join([*CIFAR10_1, *DATASETS])}, or a folder of images, got "
            f"{name_or_path!r}"
        )
    return _folder(path, like)


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


def _fitting(name: str, title: str, split: Split, classes: tuple[str, ...], like: Dataset) -> Extra:
    shape, wanted = split.images.shape[1:], like.train.images.shape[1:]
    if shape != wanted:
        raise RequestError(
            f"--also {name} needs images of {wanted} (channels, height, width), got {shape}"
        )
    labels = match_classes(classes, like.classes, f"--also {name}")[split.labels]
    return Extra(name, title, Split(split.images, labels))


def _folder(path: Path, like: Dataset) -> Extra:
    train, test = trees(path)
    tree = train if test is None else test
    places = match_classes(tree.classes, like.classes, f"--also {path}")
    items = tree.part.items
    pixels: Any = Streamed(items, like.channels, like.image_size)
    if int(np.prod(pixels.shape)) <= MEMORY_BYTES:
        pixels = pixels[:]
    notes = (passed_over(tree.passed_over),) if tree.passed_over else ()
    return Extra(path.name, path.resolve().name, Split(pixels, places[tree.labels]), notes)


def _cifar10_1(request: Request, version: str) -> Split:
    files = [
        request.find((f"cifar10.1_{version}_{what}.npy",), PLACES) for what in ("data", "labels")
    ]
    images, labels = (read_npy(file) for file in files)
    if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3):
        raise RequestError(f"{files[0]} needs uint8 (N, 32, 32, 3), got {images.shape}")
    same_number(str(files[0]), len(images), len(labels))
    return Split(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels)


def read_npy(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    """The array in an npy file; pickled objects are never loaded.

    Raises:
        RequestError: no npy file, cut off, or one of objects.
    """
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False, mmap_mode="r" if mapped else None)
    except (ValueError, OSError, EOFError) as error:
        raise RequestError(f"{path} is not a whole npy file of numbers ({error})") from error
    return array

"""Sets that come as arrays: npy and npz files, and what every reader of arrays needs.

An ``.npz`` of features that some model has computed already holds ``train_features (N, d)``,
``train_labels (N,)``, ``test_features`` and ``test_labels``, or only ``features`` and ``labels`` (a
fifth of which become the test part), and optionally ``classes (K,)``, the names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._errors import RequestError
from ..cache import CacheWriter, LoadedData, cached
from ..dataset import Labels, Split, moments
from ..splits import holdout_split
from .reading import numbered
from .request import NO_TEST, DataRequest


class Arrays(NamedTuple):
    """Images (N, C, H, W) of uint8 and labels (N,)."""

    images: NDArray[np.uint8]
    labels: Labels


def open_arrays(
    request: DataRequest,
    files: Iterable[Path],
    classes: Callable[[], Iterable[str]],
    read: Callable[[str], Arrays],
    notes: Iterable[str] = (),
) -> LoadedData:
    """The entry that ``read("train")`` and ``read("test")`` make, cached by their ``files``.

    Raises:
        RequestError: images and labels of different numbers.
    """

    def build(writer: CacheWriter) -> None:
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


FEATURE_ARRAYS = ("train_features", "train_labels", "test_features", "test_labels")


def load_features(path: Path, request: DataRequest) -> LoadedData:
    """The arrays, read into memory; pickled objects inside are never loaded.

    Raises:
        RequestError: no or a broken npz file, missing arrays, features that are no numbers (N, d)
            or not finite, labels that are not one whole number per row.
    """
    request.used.append(path)
    arrays = _read_npz(path)
    notes: tuple[str, ...] = ()
    if all(name in arrays for name in FEATURE_ARRAYS):
        train, test = (_feature_split(arrays, f"{part}_", path) for part in ("train", "test"))
    elif "features" in arrays and "labels" in arrays:
        whole = _feature_split(arrays, "", path)
        train, test = (whole.take(part) for part in holdout_split(whole.labels))
        notes = (NO_TEST,)
    else:
        raise RequestError(
            f"{path} needs the arrays features and labels, or {', '.join(FEATURE_ARRAYS)}, got "
            f"{', '.join(arrays) or 'none'}"
        )
    return LoadedData(_class_names(arrays, train, test), train, test, notes, moments(train.images))


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # zip files and numpy raise many kinds on broken content
        raise RequestError(
            f"{path} needs to be an npz file of plain arrays, and cannot be read ({error})"
        ) from error


def _feature_split(arrays: dict[str, NDArray[Any]], prefix: str, path: Path) -> Split:
    features, labels = arrays[f"{prefix}features"], arrays[f"{prefix}labels"]
    if features.ndim != 2 or features.dtype.kind not in "fiu" or features.shape[1] == 0:
        raise RequestError(
            f"{path} needs {prefix}features as numbers (N, d), got {features.dtype} of shape "
            f"{features.shape}"
        )
    return Split(features.astype(np.float32), labels)


def _class_names(arrays: dict[str, NDArray[Any]], train: Split, test: Split) -> tuple[str, ...]:
    if "classes" in arrays:
        return tuple(map(str, arrays["classes"].reshape(-1)))
    highest = max((int(split.labels.max()) for split in (train, test) if len(split)), default=-1)
    return numbered(highest)

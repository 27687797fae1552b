"""Sets that come as arrays: npy and npz files, and what every reader of arrays needs.

An ``.npz`` of features that some model has computed, by ``fixhead embed`` for example, holds
``train_features (N, d)``, ``train_labels (N,)``, ``test_features`` and ``test_labels``, or only
``features`` and ``labels`` (a fifth of which become the test part), and perhaps ``classes (K,)``,
the names. A ``.parquet`` of ``fixhead embed`` is read as its npz.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._errors import RequestError
from ..cache import CacheWriter, LoadedData, cached
from ..dataset import Labels, Split, moments
from ..reading import Reading
from ..splits import holdout_split
from .labels import choose_parts, labelled_test, number_labels
from .request import NO_TEST, DataRequest
from .tables import read_feature_table


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
FEATURES = "features"


def load_features(path: Path, request: DataRequest) -> LoadedData:
    """The arrays, read into memory; pickled objects inside are never loaded.

    Raises:
        RequestError: no or a broken file, missing arrays, features that are no numbers (N, d)
            or not finite, labels that are not one class per row.
    """
    request.used.append(path)
    arrays, where = read_features(path), str(path)
    prefixes = [name.removesuffix("_labels") for name in arrays if name.endswith("_labels")]
    prefixes = [prefix for prefix in prefixes if f"{prefix}_{FEATURES}" in arrays]
    chosen = choose_parts(prefixes, request.reading, where)
    test: str | None = None
    notes: tuple[str, ...] = ()
    if chosen.train is not None:
        train = f"{chosen.train}_"
        test, _, notes = labelled_test(
            chosen, lambda part: arrays[f"{part}_labels"].tolist(), request.reading, where
        )
    elif FEATURES in arrays and "labels" in arrays:
        train = ""
    else:
        raise RequestError(
            f"{path} needs the arrays features and labels, or {', '.join(FEATURE_ARRAYS)}, got "
            f"{', '.join(arrays) or 'none'}"
        )
    rows = {"train": _feature_rows(arrays, train, path)}
    if test is not None:
        rows["test"] = _feature_rows(arrays, f"{test}_", path)
    names = tuple(map(str, arrays["classes"].reshape(-1))) if "classes" in arrays else None
    labelled = number_labels(
        {part: labels.tolist() for part, (_, labels) in rows.items()}, names, where
    )
    splits = {part: Split(rows[part][0], labels) for part, labels in labelled.labels.items()}
    whole = replace(splits["train"], groups=_groups(arrays, train, request.reading, path))
    notes = (*notes, *labelled.notes)
    if "test" in splits:
        return LoadedData(labelled.classes, whole, splits["test"], notes, moments(whole.images))
    kept, held = (whole.take(part) for part in holdout_split(whole.labels, groups=whole.groups))
    return LoadedData(labelled.classes, kept, held, (*notes, NO_TEST), moments(kept.images))


def read_features(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in a file of features, npz or parquet, by name; pickled objects are never loaded.

    Raises:
        RequestError: a file that cannot be read, or a parquet file of something else.
    """
    if path.suffix == ".parquet":
        return read_feature_table(path)
    return _read_npz(path)


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # zip files and numpy raise many kinds on broken content
        raise RequestError(
            f"{path} needs to be an npz file of plain arrays, and cannot be read ({error})"
        ) from error


def _feature_rows(
    arrays: dict[str, NDArray[Any]], prefix: str, path: Path
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    features, labels = arrays[f"{prefix}features"], arrays[f"{prefix}labels"]
    if features.ndim != 2 or features.dtype.kind not in "fiu" or features.shape[1] == 0:
        raise RequestError(
            f"{path} needs {prefix}features as numbers (N, d), got {features.dtype} of shape "
            f"{features.shape}"
        )
    rows = features.astype(np.float32)
    if labels.ndim != 1 or len(labels) != len(rows):
        Split(rows, labels)  # says what is wrong
    return rows, labels


def _groups(
    arrays: dict[str, NDArray[Any]], prefix: str, reading: Reading, path: Path
) -> Labels | None:
    """Rows have no names: ``--keep-together NAME`` is the array that groups them."""
    name = reading.keep_together
    if name is None:
        return None
    found = next((arrays[one] for one in (f"{prefix}{name}", name) if one in arrays), None)
    if found is None:
        raise RequestError(
            f"--keep-together needs the name of an array in {path} with a group for every row, got "
            f"{name!r}; it holds {', '.join(arrays)}"
        )
    numbered: Labels = np.unique(found, return_inverse=True)[1].astype(np.int64)
    return numbered

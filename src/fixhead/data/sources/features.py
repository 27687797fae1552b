"""Feature arrays: an ``.npz`` of rows that some model has computed already.

``train_features (N, d), train_labels (N,), test_features, test_labels``, or only ``features`` and
``labels`` (a fifth of which become the test part), and optionally ``classes (K,)``, the names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._errors import RequestError
from ..cache import Entry
from ..dataset import Split, moments
from ..encoded import NO_TEST
from ..splits import holdout_split
from .lists import numbered
from .request import Request

FULL = ("train_features", "train_labels", "test_features", "test_labels")


def load_features(path: Path, request: Request) -> Entry:
    """The arrays, read into memory; pickled objects inside are never loaded.

    Raises:
        RequestError: no or a broken npz file, missing arrays, features that are no numbers (N, d)
            or not finite, labels that are not one whole number per row.
    """
    request.used.append(path)
    arrays = _arrays(path)
    notes: tuple[str, ...] = ()
    if all(name in arrays for name in FULL):
        train, test = (_split(arrays, f"{part}_", path) for part in ("train", "test"))
    elif "features" in arrays and "labels" in arrays:
        whole = _split(arrays, "", path)
        train, test = (whole.take(part) for part in holdout_split(whole.labels))
        notes = (NO_TEST,)
    else:
        raise RequestError(
            f"{path} needs the arrays features and labels, or {', '.join(FULL)}, got "
            f"{', '.join(arrays) or 'none'}"
        )
    return Entry(_classes(arrays, train, test), train, test, notes, moments(train.images))


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # zip files and numpy raise many kinds on broken content
        raise RequestError(
            f"{path} needs to be an npz file of plain arrays, and cannot be read ({error})"
        ) from error


def _split(arrays: dict[str, NDArray[Any]], prefix: str, path: Path) -> Split:
    features, labels = arrays[f"{prefix}features"], arrays[f"{prefix}labels"]
    if features.ndim != 2 or features.dtype.kind not in "fiu" or features.shape[1] == 0:
        raise RequestError(
            f"{path} needs {prefix}features as numbers (N, d), got {features.dtype} of shape "
            f"{features.shape}"
        )
    return Split(features.astype(np.float32), labels)


def _classes(arrays: dict[str, NDArray[Any]], train: Split, test: Split) -> tuple[str, ...]:
    if "classes" in arrays:
        return tuple(map(str, arrays["classes"].reshape(-1)))
    highest = max((int(split.labels.max()) for split in (train, test) if len(split)), default=-1)
    return numbered(highest)

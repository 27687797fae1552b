"""Data sets of the Hugging Face ``datasets`` package: ``hf:OWNER/NAME`` or a folder it has saved.

A name is fetched over the network (or taken from that package's own cache); a folder written by
``save_to_disk`` needs none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..._errors import RequestError, require
from ..cache import LoadedData
from ..encoded import Encoded, EncodedPart
from .request import DataRequest
from .tables import IMAGE_NAMES, LABEL_NAMES, TEST_NAMES

PREFIX = "hf:"


class HubImages:
    """The encoded images of one split."""

    def __init__(self, rows: Any, column: str) -> None:
        self._rows = rows
        self._column = column

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Encoded:
        cell = self._rows[index][self._column]
        name = f"{cell.get('path') or 'image'} (row {index})"
        content = cell.get("bytes")
        return Encoded(name, content if content is not None else Path(cell["path"]))


def is_saved(folder: Path) -> bool:
    """Whether ``folder`` was written by ``save_to_disk``."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def load_hub(name: str, request: DataRequest) -> LoadedData:
    """The data set ``hf:OWNER/NAME`` (or a saved folder), decoded into our own cache.

    Raises:
        RequestError: it cannot be had, or has no column of images or of single labels.
    """
    parts = _parts(_loaded(name, request))
    image, label = _columns(parts["train"])
    names = tuple(parts["train"].features[label].names)
    encoded = require("datasets", extra="hf").Image(decode=False)
    made = {}
    for part, rows in parts.items():
        labels = np.asarray(rows.with_format("numpy")[label][:], dtype=np.int64)
        made[part] = EncodedPart(HubImages(rows.cast_column(image, encoded), image), labels)
    key = "/".join(str(getattr(rows, "_fingerprint", "")) for rows in parts.values())
    return request.open(key, names, made["train"], made.get("test"))


def _loaded(name: str, request: DataRequest) -> Any:
    datasets = require("datasets", extra="hf")
    try:
        if not name.startswith(PREFIX):
            return datasets.load_from_disk(name)
        place = None if request.data_dir is None else str(request.data_dir)
        return datasets.load_dataset(name.removeprefix(PREFIX), cache_dir=place)
    except Exception as error:  # network, hub and file errors share no class
        raise RequestError(
            f"data {name!r} cannot be had ({type(error).__name__}: {error}); check the name and "
            "the network, or save it to a folder elsewhere and give that"
        ) from error


def _parts(loaded: Any) -> dict[str, Any]:
    if not isinstance(loaded, dict):
        return {"train": loaded}
    parts = {
        "train": loaded[next((name for name in loaded if name == "train"), next(iter(loaded)))]
    }
    test = next((name for name in TEST_NAMES if name in loaded), None)
    return parts if test is None else parts | {"test": loaded[test]}


def _columns(rows: Any) -> tuple[str, str]:
    kinds = {name: type(feature).__name__ for name, feature in rows.features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    if not images or not labels:
        raise RequestError(
            "a Hugging Face data set needs a column of images and one of class labels, got "
            f"{', '.join(f'{name} ({kind})' for name, kind in kinds.items())}; multi-label targets "
            "are not supported"
        )
    prefer = (IMAGE_NAMES, LABEL_NAMES)
    chosen = (
        next((name for name in usual if name in found), found[0])
        for usual, found in zip(prefer, (images, labels), strict=True)
    )
    image, label = chosen
    return image, label

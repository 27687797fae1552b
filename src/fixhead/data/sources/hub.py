"""Data sets of the Hugging Face ``datasets`` package: ``hf:OWNER/NAME`` or a folder it has saved.

A name is fetched over the network (or taken from that package's own cache); a folder written by
``save_to_disk`` needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..._errors import RequestError, require
from ..cache import LoadedData
from ..encoded import Encoded, EncodedPart
from ..reading import Reading
from .labels import choose_parts, labelled_test, no_training_part, number_labels, part_of
from .request import DataRequest
from .tables import IMAGE_NAMES, LABEL_NAMES

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

    def name(self, index: int) -> str:
        return self[index].name


def is_saved(folder: Path) -> bool:
    """Whether ``folder`` was written by ``save_to_disk``."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def load_hub(name: str, request: DataRequest) -> LoadedData:
    """The data set ``hf:OWNER/NAME`` (or a saved folder), decoded into our own cache.

    Raises:
        RequestError: it cannot be had, or has no column of images or of single labels.
    """
    loaded = _loaded(name, request)
    splits = loaded if isinstance(loaded, dict) else {"train": loaded}
    chosen = choose_parts(list(splits), request.reading, name)
    train = chosen.train or next((one for one in splits if part_of(one) is None), None)
    if train is None:
        raise no_training_part(name, list(splits))
    image, label = _columns(splits[train], request.reading)

    def labels_of(split: str) -> list[Any]:
        labels: list[Any] = np.asarray(splits[split].with_format("numpy")[label][:]).tolist()
        return labels

    test, test_labels, notes = labelled_test(chosen, labels_of, request.reading, name)
    values: dict[str, Sequence[Any]] = {"train": labels_of(train)}
    used = {"train": train}
    if test is not None:
        values["test"], used["test"] = test_labels, test
    names = getattr(splits[train].features[label], "names", None)
    labelled = number_labels(values, None if names is None else tuple(names), name)
    encoded = require("datasets", extra="hf").Image(decode=False)
    made = {
        part: EncodedPart(
            HubImages(splits[split].cast_column(image, encoded), image), labelled.labels[part]
        )
        for part, split in used.items()
    }
    key = "/".join(str(getattr(splits[split], "_fingerprint", "")) for split in used.values())
    return request.open(
        key,
        labelled.classes,
        made["train"],
        made.get("test"),
        notes=(*notes, *labelled.notes),
    )


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


def _columns(rows: Any, reading: Reading) -> tuple[str, str]:
    kinds = {name: type(feature).__name__ for name, feature in rows.features.items()}
    asked = (("--image-column", reading.image_column), ("--label-column", reading.label_column))
    for option, column in asked:
        if column is not None and column not in kinds:
            raise RequestError(f"{option} {column} is none of the columns {', '.join(kinds)}")
    images = [name for name, kind in kinds.items() if kind == "Image"]
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    labels = labels or [name for name in LABEL_NAMES if kinds.get(name) == "Value"]
    images = [reading.image_column] if reading.image_column else images
    labels = [reading.label_column] if reading.label_column else labels
    if not images or not labels:
        raise RequestError(
            "a Hugging Face data set needs a column of images and one of class labels, got "
            f"{', '.join(f'{name} ({kind})' for name, kind in kinds.items())}; multi-label targets "
            "are not supported; name the columns with --image-column and --label-column"
        )
    image, label = (
        next((name for name in usual if name in found), found[0])
        for usual, found in ((IMAGE_NAMES, images), (LABEL_NAMES, labels))
    )
    return image, label

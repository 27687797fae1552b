"""Parquet in the layout of Hugging Face: ``image: {bytes, path}`` and an integer ``label``.

Class names come from the schema's metadata, or from a column of names. Files are told apart by how
their names begin: ``train-00000-of-00003.parquet``, ``test-…`` or ``validation-…``.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..._errors import RequestError, require
from ..cache import LoadedData
from ..dataset import Labels
from ..encoded import Encoded, EncodedPart
from .reading import numbered
from .request import DataRequest

TEST_NAMES = ("test", "validation", "valid", "val", "dev")
IMAGE_NAMES = ("image", "img", "picture")
LABEL_NAMES = ("label", "labels", "fine_label", "target", "class")
MANY_ROWS, ROW_BYTES = 1 << 20, 8
"""More than a million rows need at least so many bytes each; a file that says otherwise is broken,
and reading it would take the memory for all of them."""

OPEN_GROUPS = 4
"""Row groups kept in memory at once: threads that decode neighbours ask for two of them."""


@dataclass(frozen=True)
class Columns:
    """Where a table keeps its images and labels, and the class names where the schema tells."""

    image: str
    label: str
    names: tuple[str, ...] | None


class TableImages:
    """The encoded images of some parquet files, read one row group at a time."""

    def __init__(self, files: Sequence[Path], column: str) -> None:
        self._column = column
        self._groups: list[tuple[Path, int]] = []
        ends = [0]
        for file in files:
            metadata = _parquet(file).metadata
            for group in range(metadata.num_row_groups):
                self._groups.append((file, group))
                ends.append(ends[-1] + metadata.row_group(group).num_rows)
        self._ends = np.asarray(ends)
        self._open: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Encoded:
        group = int(np.searchsorted(self._ends, index, side="right")) - 1
        file, row = self._groups[group][0], index - int(self._ends[group])
        with _reading(file):
            content = self._rows(group)[row].as_py()
        name = f"row {row} of {file.name}"
        if isinstance(content, dict):
            name = f"{content.get('path') or 'image'} ({name})"
            content = content.get("bytes")
        if not isinstance(content, bytes):
            raise RequestError(f"image {name} needs its bytes inside the table, and has none")
        return Encoded(name, content)

    def _rows(self, group: int) -> Any:
        with self._lock:
            if group not in self._open:
                file, number = self._groups[group]
                table = _parquet(file).read_row_group(number, columns=[self._column])
                self._open[group] = table.column(0).combine_chunks()
            self._open.move_to_end(group)
            while len(self._open) > OPEN_GROUPS:
                self._open.popitem(last=False)
            return self._open[group]


def load_parquet(
    files: Sequence[Path],
    request: DataRequest,
    *,
    channels: int | None = None,
    notes: tuple[str, ...] = (),
) -> LoadedData:
    """The tables ``files``, split by their names; without a test file, a fifth is held out.

    Raises:
        RequestError: broken files, no column of images or labels, labels that are lists
            (multi-label), missing or out of range, classes that differ between the files.
    """
    by_part = _by_part(files)
    columns = _columns(by_part["train"][0])
    names = columns.names
    values = {part: _label_values(part_files, columns) for part, part_files in by_part.items()}
    if names is None:
        names = _names_of(values)
    parts = {
        part: EncodedPart(
            TableImages(by_part[part], columns.image), _labels(values[part], names, part)
        )
        for part in by_part
    }
    return request.open(
        request.fingerprint(files),
        names,
        parts["train"],
        parts.get("test"),
        notes=notes,
        channels=channels,
    )


def find_parquet(folder: Path) -> list[Path]:
    """The parquet files in a folder or in its ``data``, in order."""
    return sorted(folder.glob("*.parquet")) or sorted((folder / "data").glob("*.parquet"))


def _by_part(files: Sequence[Path]) -> dict[str, list[Path]]:
    parts: dict[str, list[Path]] = {"train": []}
    for file in sorted(files):
        word = re.split(r"[-_.]", file.name, maxsplit=1)[0].lower()
        parts.setdefault("test" if word in TEST_NAMES else "train", []).append(file)
    tests = {re.split(r"[-_.]", file.name, maxsplit=1)[0] for file in parts.get("test", [])}
    if len(tests) > 1:  # both a test and a validation part: the test part is the test part
        parts["test"] = [file for file in parts["test"] if file.name.startswith("test")]
    if not parts["train"]:
        raise RequestError(
            f"parquet data needs a file for training (train-….parquet), got "
            f"{', '.join(file.name for file in files)}"
        )
    return parts


def _parquet(file: Path) -> Any:
    module = require("pyarrow.parquet", extra="data")
    with _reading(file):
        opened = module.ParquetFile(file)
        groups = [opened.metadata.row_group(n) for n in range(opened.metadata.num_row_groups)]
        rows = sum(group.num_rows for group in groups)
    if min((group.num_rows for group in groups), default=0) < 0 or rows > max(
        MANY_ROWS, file.stat().st_size // ROW_BYTES
    ):
        raise RequestError(f"{file} is not a whole parquet file (it says that it has {rows} rows)")
    return opened


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Say which file is broken, whatever pyarrow raises on its way through it."""
    try:
        yield
    except RequestError:
        raise
    except Exception as error:  # its own, and whatever else broken content makes it stumble over
        raise RequestError(f"{file} is not a whole parquet file ({error})") from error


def _columns(file: Path) -> Columns:
    schema = _parquet(file).schema_arrow
    features = _features(schema)
    image = _chosen(schema, features, "Image", IMAGE_NAMES, "images", file)
    label = _chosen(schema, features, "ClassLabel", LABEL_NAMES, "labels", file)
    names = features.get(label, {}).get("names")
    if isinstance(names, dict):  # an older spelling: {"0": "cat", "1": "dog"}
        with _reading(file):
            names = [names[key] for key in sorted(names, key=int)]
    return Columns(image, label, None if names is None else tuple(map(str, names)))


def _features(schema: Any) -> dict[str, Any]:
    text = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(text)["info"]["features"] if text else {}
        return {name: value for name, value in features.items() if isinstance(value, dict)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _chosen(
    schema: Any,
    features: dict[str, Any],
    kind: str,
    usual: tuple[str, ...],
    what: str,
    file: Path,
) -> str:
    """The column that the metadata calls ``kind``, or one with a usual name."""
    said = [name for name in schema.names if features.get(name, {}).get("_type") == kind]
    found = said or [name for name in usual if name in schema.names]
    if not found:
        raise RequestError(
            f"{file} needs a column of {what} (named {', '.join(usual)}), got "
            f"{', '.join(schema.names)}"
        )
    return next((name for name in usual if name in found), found[0])


def _label_values(files: Sequence[Path], columns: Columns) -> list[Any]:
    arrow = require("pyarrow.types", extra="data")
    values: list[Any] = []
    for file in files:
        parquet = _parquet(file)
        if columns.label not in parquet.schema_arrow.names:
            raise RequestError(f"{file} needs the column {columns.label!r}, and lacks it")
        kind = parquet.schema_arrow.field(columns.label).type
        if arrow.is_list(kind) or arrow.is_large_list(kind):
            raise RequestError(
                f"{file} has lists in its column {columns.label!r}: multi-label targets are not "
                "supported; keep one class per image"
            )
        with _reading(file):
            values += parquet.read(columns=[columns.label]).column(0).to_pylist()
    return values


def _names_of(values: dict[str, list[Any]]) -> tuple[str, ...]:
    """Names for labels without metadata: the words themselves, sorted, or 0..K − 1."""
    found = {value for part in values.values() for value in part}
    if all(isinstance(value, str) for value in found):
        return tuple(sorted(found))
    numbers = [value for value in found if type(value) is int]
    return numbered(max(numbers, default=-1))


def _labels(values: list[Any], names: tuple[str, ...], part: str) -> Labels:
    if values and isinstance(values[0], str):
        index = {name: number for number, name in enumerate(names)}
        values = [index.get(value, value) for value in values]
    for row, value in enumerate(values):
        if type(value) is not int or not 0 <= value < len(names):
            raise RequestError(
                f"label {value!r} in row {row} of the {part} part needs to be one of the "
                f"{len(names)} classes (0 to {len(names) - 1})"
            )
    return np.asarray(values, dtype=np.int64)

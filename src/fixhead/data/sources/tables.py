"""Parquet in the layout of Hugging Face: ``image: {bytes, path}`` and an integer ``label``.

Class names come from the schema's metadata, or are the labels themselves. Files are told apart by
their names: ``train-00000-of-00003.parquet``, ``test-…`` or ``validation-…``.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._errors import RequestError, require
from ..cache import LoadedData
from ..encoded import Encoded, EncodedPart
from ..reading import Reading
from .files import is_left_over
from .labels import labelled_test, number_labels, parts_of_files
from .request import DataRequest

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

    def name(self, index: int) -> str:
        return self[index].name

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
    where = str(files[0] if len(files) == 1 else files[0].parent)
    parts, chosen, notes_on_files = parts_of_files(files, request.reading, where)
    assert chosen.train is not None
    columns = _columns(parts[chosen.train][0], request.reading)
    test, test_values, notes_on_parts = labelled_test(
        chosen, lambda part: _label_values(parts[part], columns), request.reading, where
    )
    values: dict[str, Sequence[Any]] = {"train": _label_values(parts[chosen.train], columns)}
    used = {"train": parts[chosen.train]}
    if test is not None:
        values["test"], used["test"] = test_values, parts[test]
    labelled = number_labels(values, columns.names, where)
    encoded = {
        part: EncodedPart(TableImages(used[part], columns.image), labelled.labels[part])
        for part in used
    }
    return request.open(
        request.fingerprint([file for part in used.values() for file in part]),
        labelled.classes,
        encoded["train"],
        encoded.get("test"),
        notes=(*notes, *notes_on_files, *notes_on_parts, *labelled.notes),
        channels=channels,
    )


def find_parquet(folder: Path) -> list[Path]:
    """The parquet files in a folder or in its ``data``, in order."""
    for place in (folder, folder / "data"):
        files = sorted(f for f in place.glob("*.parquet") if not is_left_over(f.name))
        if files:
            return files
    return []


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


PASSPORT = b"fixhead"
"""What a parquet file of ``fixhead embed`` has in its schema's metadata."""


def holds_features(file: Path) -> bool:
    """Whether a parquet file is one of features that ``fixhead embed`` wrote."""
    return PASSPORT in (_parquet(file).schema_arrow.metadata or {})


def read_feature_table(file: Path) -> dict[str, NDArray[Any]]:
    """The columns of such a file as an npz file of it has them: ``features (N, d)``, ``paths``,
    ``labels``, ``classes`` and ``space``, the first three by part where it has parts.

    Raises:
        RequestError: no such file, or one that is cut off.
    """
    opened = _parquet(file)
    said = opened.schema_arrow.metadata or {}
    if PASSPORT not in said:
        raise RequestError(f"{file} needs features, as fixhead embed writes them, got other rows")
    with _reading(file):
        table = opened.read()
        classes = json.loads(said[b"classes"])
        lists = table.column("feature").combine_chunks()
        features = lists.flatten().to_numpy().reshape(len(table), lists.type.list_size)
        columns = {"features": features, "paths": np.asarray(table.column("path"), dtype=np.str_)}
        if classes is not None:
            columns["labels"] = np.asarray(table.column("label"), dtype=np.str_)
        arrays = columns
        if "part" in table.schema.names:
            parts = np.asarray(table.column("part"), dtype=np.str_)
            arrays = {
                f"{part}_{name}": column[parts == part]
                for part in np.unique(parts)
                for name, column in columns.items()
            }
        named = {} if classes is None else {"classes": np.asarray(classes, dtype=np.str_)}
        return {**arrays, **named, "space": np.asarray(said[PASSPORT].decode())}


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Say which file is broken, whatever pyarrow raises on its way through it."""
    try:
        yield
    except RequestError:
        raise
    except Exception as error:  # its own, and whatever else broken content makes it stumble over
        raise RequestError(f"{file} is not a whole parquet file ({error})") from error


def _columns(file: Path, reading: Reading) -> Columns:
    schema = _parquet(file).schema_arrow
    features = _features(schema)
    image = _asked_column(schema, reading.image_column, "--image-column", file) or _chosen(
        schema, features, "Image", IMAGE_NAMES, "images", file
    )
    label = _asked_column(schema, reading.label_column, "--label-column", file) or _chosen(
        schema, features, "ClassLabel", LABEL_NAMES, "labels", file
    )
    names = features.get(label, {}).get("names")
    if isinstance(names, dict):  # an older spelling: {"0": "cat", "1": "dog"}
        with _reading(file):
            names = [names[key] for key in sorted(names, key=int)]
    return Columns(image, label, None if names is None else tuple(map(str, names)))


def _asked_column(schema: Any, name: str | None, option: str, file: Path) -> str | None:
    if name is None or name in schema.names:
        return name
    raise RequestError(f"{option} {name} is not in {file}, which has {', '.join(schema.names)}")


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
            f"{', '.join(schema.names)}; name it with --{what[:-1]}-column"
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
        if arrow.is_nested(kind):
            what = "lists" if "list" in str(kind) else f"values of type {kind}"
            raise RequestError(
                f"{file} has {what} in its column {columns.label!r}: multi-label targets are not "
                "supported; keep one class per image, or name another column with --label-column"
            )
        with _reading(file):
            values += parquet.read(columns=[columns.label]).column(0).to_pylist()
    return values

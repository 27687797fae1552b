"""Labels from a CSV file beside a folder of images: ``labels.csv`` with ``file_name,label``.

One file for all images, perhaps with a column ``split`` that names the parts, or one for each part
(``train.csv``, ``test.csv``). A name may be a path below the folder, a file's name, or that without
its suffix. ``--image-column`` and ``--label-column`` name other columns.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..._errors import RequestError
from ..cache import LoadedData
from ..encoded import EncodedPart, Files
from ..images import SUFFIXES
from ..reading import Reading, read_text
from .files import is_left_over
from .labels import (
    ChosenParts,
    choose_parts,
    labelled_test,
    number_labels,
    part_of,
    parts_of_files,
)
from .request import DataRequest

IMAGE_COLUMNS = (
    *("file_name", "filename", "file", "image", "path", "image_path", "filepath", "img"),
    *("image_name", "image_id", "id_code", "id", "name"),
)
LABEL_COLUMNS = ("label", "labels", "class", "target", "category", "class_name", "class_id", "y")
PART_COLUMNS = ("split", "part", "subset", "set", "phase", "usage")


class Listing(NamedTuple):
    """The images of one part by name, and their labels (None where the file has no such column)."""

    source: Path
    names: list[str]
    labels: list[Any]


def find_listings(root: Path, reading: Reading) -> list[Path]:
    """The CSV files in ``root`` that list images with labels; asked for, or the only reading.

    Class folders go before a file, unless ``label_column`` asks for it.
    """
    files = sorted(
        path
        for path in root.iterdir()
        if path.suffix.lower() in (".csv", ".tsv") and not is_left_over(path.name)
    )
    if not files or (reading.label_column is None and not _is_unsorted(root)):
        return []
    return [path for path in files if _columns(_header(path), reading) is not None]


def load_listed(root: Path, files: Sequence[Path], request: DataRequest) -> LoadedData:
    """The images below ``root`` that ``files`` list.

    Raises:
        RequestError: a row without a file, a name that several files have, no labels, or as the
            other readers say of labels and parts.
    """
    parts, chosen, notes = _parts(files, request.reading, str(root))
    assert chosen.train is not None
    images = sorted(path for path in root.rglob("*") if _is_image(path, root))
    test, _, more = labelled_test(
        chosen, lambda part: parts[part].labels, request.reading, str(root)
    )
    used = {"train": chosen.train} if test is None else {"train": chosen.train, "test": test}
    labelled = number_labels(
        {part: parts[one].labels for part, one in used.items()}, None, str(root)
    )
    found = {part: _files(parts[one], images, root, one) for part, one in used.items()}
    unlisted = len(set(images) - {path for paths in found.values() for path in paths})
    left = (f"{unlisted} images are in no list that is used",) if unlisted else ()
    encoded = {
        part: EncodedPart(Files(paths), labelled.labels[part]) for part, paths in found.items()
    }
    return request.open(
        request.fingerprint([*files, *(path for paths in found.values() for path in paths)]),
        labelled.classes,
        encoded["train"],
        encoded.get("test"),
        notes=(*notes, *more, *labelled.notes, *left),
    )


def _is_unsorted(root: Path) -> bool:
    """Whether images lie in ``root`` itself, in one folder, or in flat folders named as parts."""
    entries = [path for path in root.iterdir() if not is_left_over(path.name)]
    if any(path.suffix.lower() in SUFFIXES for path in entries):
        return True
    folders = [path for path in entries if path.is_dir()]
    flat = all(not any(path.is_dir() for path in folder.iterdir()) for folder in folders)
    return flat and (len(folders) == 1 or all(part_of(folder.name) for folder in folders))


def _is_image(path: Path, root: Path) -> bool:
    inside = path.relative_to(root).parts
    return path.suffix.lower() in SUFFIXES and path.is_file() and not any(map(is_left_over, inside))


def _rows(path: Path) -> list[list[str]]:
    text = read_text(path, "the list")
    first = text.partition("\n")[0]
    delimiter = max("\t;,", key=first.count)
    return [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if any(row)]


def _header(path: Path) -> list[str]:
    rows = _rows(path)
    return [name.strip() for name in rows[0]] if rows else []


def _columns(header: Sequence[str], reading: Reading) -> tuple[int, int | None] | None:
    """The places of names and labels; None where there is no column of names."""
    plain = [name.strip().lower().replace(" ", "_") for name in header]

    def place(asked: str | None, usual: Iterable[str]) -> int | None:
        if asked is not None:
            return header.index(asked) if asked in header else None
        return next((plain.index(name) for name in usual if name in plain), None)

    names = place(reading.image_column, IMAGE_COLUMNS)
    labels = place(reading.label_column, LABEL_COLUMNS)
    return None if names is None else (names, labels)


def _parts(
    files: Sequence[Path], reading: Reading, where: str
) -> tuple[Mapping[str, Listing], ChosenParts, tuple[str, ...]]:
    if len(files) > 1:
        by_file, chosen, notes = parts_of_files(files, reading, where)
        listed = {part: _listing(paths[0], reading) for part, paths in by_file.items()}
        return listed, chosen, notes
    split = _split_column(files[0], reading)
    if len(split) < 2:
        return {"train": _listing(files[0], reading)}, ChosenParts("train", ()), ()
    return split, choose_parts(list(split), reading, where), ()


def _split_column(path: Path, reading: Reading) -> dict[str, Listing]:
    """The parts that a column of one file names; none where it has no such column."""
    header, *rows = _rows(path)
    plain = [name.strip().lower() for name in header]
    place = next((plain.index(name) for name in PART_COLUMNS if name in plain), None)
    if place is None or not all(part_of(row[place]) for row in rows):
        return {}
    names = dict.fromkeys(row[place] for row in rows)
    return {
        name: _listing(path, reading, [row for row in rows if row[place] == name]) for name in names
    }


def _listing(path: Path, reading: Reading, rows: list[list[str]] | None = None) -> Listing:
    header, *all_rows = _rows(path)
    places = _columns([name.strip() for name in header], reading)
    assert places is not None
    rows = all_rows if rows is None else rows
    names, labels = places
    if labels is None:
        return Listing(path, [row[names].strip() for row in rows], [None] * len(rows))
    short = next(
        (number for number, row in enumerate(rows) if len(row) <= max(names, labels)), None
    )
    if short is not None:
        raise RequestError(f"{path} needs {len(header)} columns in row {short}")
    values: list[Any] = [row[labels].strip() for row in rows]
    if values and all(re.fullmatch(r"-?\d{1,18}", value) for value in values):
        values = [int(value) for value in values]
    return Listing(path, [row[names].strip() for row in rows], values)


def _files(listing: Listing, images: Sequence[Path], root: Path, part: str) -> list[Path]:
    """The file of every name; those in a folder of the same part go before others."""
    own = [path for path in images if part_of(path.relative_to(root).parts[0]) == part_of(part)]
    index: dict[str, set[Path]] = {}
    for path in own if part_of(part) and own else images:
        inside = path.relative_to(root).as_posix()
        for form in {inside, path.name, path.stem, inside.rpartition(".")[0]}:
            index.setdefault(form, set()).add(path)
    found = []
    for row, name in enumerate(listing.names):
        known = index.get(name) or index.get(name.replace("\\", "/").rpartition("/")[2]) or set()
        if len(known) != 1:
            many = f"{len(known)} of them" if known else "no such image"
            raise RequestError(
                f"{listing.source} lists {name!r} in row {row}, and {root} has {many}; give paths "
                "below that folder"
            )
        found.append(next(iter(known)))
    return found

"""``fixhead embed``: the features of a folder's pictures as one file, with the passport of their
space; ``fixhead search``: the nearest of them to a picture.

``.npz`` holds ``features (N, d)``, ``paths (N,)`` and, where the folder has class folders,
``labels (N,)`` and ``classes``, the names that they number; of a folder with a training and a test
part each of the first three twice, with ``train_`` and ``test_`` before it. ``space`` is the
passport as JSON. ``.parquet`` holds a row per picture: ``path``, ``label`` (its name), ``part``
where there are parts, and ``feature``; passport and class names are in the schema's metadata.
Both are data to train on: ``fixhead compare --data features.npz``.

The passport says which features are comparable: ``construction``, ``classes`` K, ``features`` d,
``width`` D of the class vectors behind ``neck`` and ``code_width``, the ``digest`` of the class
vectors, the ``names`` that stand on them, and ``model``, the digest of the weights.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._errors import RequestError, require
from .._files import replace_file
from ..data.reading import Reading
from ..data.sources.arrays import read_features
from ..data.sources.folder import Tree, find_images, holds_class_folders, passed_over, trees
from ..logits import unit
from ..runs.layout import FEATURES_SCHEMA
from ..training.checkpoints import weights_digest
from .predict import AT_A_TIME, Predictor, readable

KINDS = (".npz", ".parquet")
GROUP = 64 * AT_A_TIME
"""Rows of a group of a parquet file, which are held in memory together."""

Rows = tuple[list[str], NDArray[np.float32]]
"""Paths of n pictures and their features (n, d)."""


@dataclass(frozen=True)
class Embedded:
    """What was written: pictures by part (``""`` where there are none), d, classes (None where the
    folder has no class folders), and notes on what was passed over."""

    file: Path
    pictures: dict[str, int]
    features: int
    classes: tuple[str, ...] | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        named = None if self.classes is None else list(self.classes)
        return {
            "file": str(self.file),
            "pictures": self.pictures,
            "features": self.features,
            "classes": named,
            "notes": list(self.notes),
        }


def space_of(model: Predictor) -> dict[str, Any]:
    """The passport of the features that ``model`` gives: plain JSON."""
    head = model.model.head
    return {
        "schema": FEATURES_SCHEMA,
        "construction": head.construction,
        "learned": head.learn_vectors,
        "classes": head.classes,
        "features": head.features,
        "width": head.width,
        "neck": head.neck_name,
        "code_width": head.code_width,
        "digest": head.class_vectors.digest(),
        "names": list(model.classes),
        "model": weights_digest(model.model),
    }


def embed_folder(
    model: Predictor,
    folder: Path,
    out: Path,
    unreadable: list[str],
    *,
    overwrite: bool = False,
) -> Embedded:
    """Write the features of all pictures below ``folder`` into ``out``, as they are computed.

    Labels are the folder's own class names, whatever classes the model knows. A picture that
    cannot be read is passed over, and a sentence on it is added to ``unreadable``.

    Raises:
        RequestError: another suffix than .npz or .parquet, a file that is there (without
            ``overwrite``), a folder without pictures or with some inside and some outside class
            folders, or none that can be read.
    """
    check_out(out, overwrite=overwrite)
    listing = _listed(folder)
    write = _Npz if out.suffix == ".npz" else _Parquet
    pictures: dict[str, int] = {}

    def fill(draft: Path) -> None:
        with tempfile.TemporaryDirectory(dir=draft.parent, prefix=".") as aside:
            file = write(draft, Path(aside), listing, space_of(model))
            for part, files in listing.parts.items():
                pictures[part] = sum(
                    file.add(part, rows) for rows in _embedded(model, files, unreadable)
                )
            if not sum(pictures.values()):
                more = f" (and {len(unreadable) - 1} more)" if len(unreadable) > 1 else ""
                raise RequestError(f"{unreadable[0]}{more}")
            file.close()

    replace_file(out, fill)
    return Embedded(out, pictures, model.model.head.features, listing.classes, tuple(listing.notes))


def check_out(out: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Raises:
        RequestError: another suffix, a file that is there, a folder that is not, or no pyarrow.
    """
    if out.suffix not in KINDS:
        raise RequestError(f"--out needs a file ending in {' or '.join(KINDS)}, got {out}")
    if out.exists() and not overwrite:
        raise RequestError(
            f"{out} is there already; name another file by --out, or say --overwrite"
        )
    if not out.parent.is_dir():
        raise RequestError(f"--out needs a file in a folder that is there, got {out}")
    if out.suffix == ".parquet":
        require("pyarrow.parquet", extra="data")


@dataclass(frozen=True)
class _Listing:
    """The pictures of a folder by part, with the label of each where there are class folders."""

    root: Path
    parts: dict[str, tuple[Path, ...]]
    labels: dict[str, int]
    classes: tuple[str, ...] | None
    notes: Sequence[str]

    def name(self, path: str) -> str:
        """The path from the folder, the same on every machine."""
        return Path(path).relative_to(self.root).as_posix()


def _listed(folder: Path) -> _Listing:
    if not folder.is_dir():
        raise RequestError(f"embed needs a folder with pictures, got {folder}, which is none")
    if not holds_class_folders(folder):
        files, over = find_images(folder)
        if not files:
            raise RequestError(f"embed needs pictures, got the folder {folder}, which has none")
        return _Listing(folder, {"": files}, {}, None, [passed_over(over)] if over else [])
    train, test, notes = trees(folder, Reading())
    found: dict[str, Tree] = {"": train} if test is None else {"train": train, "test": test}
    over = tuple(path for tree in found.values() for path in tree.passed_over)
    labels = {
        str(file): int(label)
        for tree in found.values()
        for file, label in zip(tree.files, tree.labels, strict=True)
    }
    parts = {part: tree.files for part, tree in found.items()}
    return _Listing(
        folder, parts, labels, train.classes, [*notes, *([passed_over(over)] if over else [])]
    )


def _embedded(model: Predictor, files: Sequence[Path], unreadable: list[str]) -> Iterator[Rows]:
    pixels = readable(files, model.facts, unreadable)
    while part := list(islice(pixels, AT_A_TIME)):
        with torch.no_grad():
            batch = torch.from_numpy(np.stack([one for _, one in part]))
            features = model.features(batch.to(model.device)).float().cpu().numpy()
        yield [name for name, _ in part], features


@dataclass(frozen=True)
class Index:
    """A file of features to search in: unit rows (N, d), their paths and labels (None where there
    are none), and the passport."""

    rows: Tensor
    paths: tuple[str, ...]
    labels: tuple[str, ...] | None
    space: dict[str, Any]

    def search(self, features: Tensor, top: int) -> list[list[Neighbour]]:
        """The ``top`` rows of largest cosine with each of features (Q, d), the nearest first."""
        found = (unit(features.double()) @ self.rows.T).topk(min(top, len(self.rows)), dim=1)
        answers = zip(found.indices.tolist(), found.values.tolist(), strict=True)
        return [list(map(self._neighbour, rows, cosines)) for rows, cosines in answers]

    def _neighbour(self, row: int, cosine: float) -> Neighbour:
        label = None if self.labels is None else self.labels[row]
        return Neighbour(self.paths[row], label, cosine)


@dataclass(frozen=True)
class Neighbour:
    """A picture of an index: its path from the folder, its label, and the cosine with the query."""

    path: str
    label: str | None
    cosine: float


def read_index(path: Path) -> Index:
    """A file that ``embed_folder`` wrote, all its parts together.

    Raises:
        RequestError: it cannot be read, or says of no space.
    """
    if path.suffix not in KINDS or not path.is_file():
        raise RequestError(f"search needs a file of fixhead embed (.npz or .parquet), got {path}")
    arrays = read_features(path)
    try:
        space = json.loads(str(arrays["space"])) if "space" in arrays else None
    except ValueError:
        space = None
    parts = [name.removesuffix("features") for name in arrays if name.endswith("features")]
    whole = parts and all(f"{part}paths" in arrays for part in parts)
    if not isinstance(space, dict) or space.get("schema") != FEATURES_SCHEMA or not whole:
        raise RequestError(
            f"{path} needs to say of what space its features are, and does not; write it by "
            "fixhead embed"
        )
    rows = torch.from_numpy(np.concatenate([arrays[f"{part}features"] for part in parts]))
    labels: list[str] | None = None
    if all(f"{part}labels" in arrays for part in parts):
        found = np.concatenate([arrays[f"{part}labels"] for part in parts])
        numbers = found.dtype.kind in "iu"
        labels = (arrays["classes"][found] if numbers else found).tolist()
    return Index(
        unit(rows.double()),
        tuple(str(one) for part in parts for one in arrays[f"{part}paths"]),
        None if labels is None else tuple(labels),
        space,
    )


SHARED = ("construction", "features", "width", "classes", "digest", "names")
"""In what two models agree whose classes stand on the same fixed vectors, by name."""


def check_space(index: Mapping[str, Any], own: Mapping[str, Any]) -> str | None:
    """None for an index of this very model; for one of another model on the same fixed class
    vectors, a sentence that says so.

    Raises:
        RequestError: an index of another space.
    """
    if index.get("model") == own["model"]:
        return None
    advice = "; search with the model that wrote it, or embed the folder again"
    for name in SHARED:
        if index.get(name) != own[name]:
            said = [str(one.get(name)) for one in (index, own)]
            theirs, ours = (one if len(one) <= 40 else f"{one[:40]}…" for one in said)
            raise RequestError(
                f"the index needs to be of the model's space, and differs in {name}: it has "
                f"{theirs}, and the model {ours}{advice}"
            )
    for one, whose in ((index, "the index's"), (own, "this")):
        if one.get("learned") is not False:
            raise RequestError(
                f"the index is of another model, and {whose} model's class vectors are learned, so "
                f"that no direction is shared{advice}"
            )
        if one.get("neck") != "none" or one.get("code_width") is not None:
            raise RequestError(
                f"the index is of another model, and {whose} model's features lie before a learned "
                f"map, so that they share no space{advice}"
            )
    return (
        "the index is of another model on the same fixed class vectors: compatible; how well it is "
        "found again depends on how both were trained"
    )


class _Writer(ABC):
    def __init__(self, draft: Path, aside: Path, listing: _Listing, space: dict[str, Any]) -> None:
        self.draft, self.aside, self.listing = draft, aside, listing
        self.space = json.dumps(space, ensure_ascii=False)
        self.features = int(space["features"])

    @abstractmethod
    def add(self, part: str, rows: Rows) -> int:
        """Take further rows of a part; how many there were."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left."""


class _Npz(_Writer):
    """Features wait in a file for their number, which stands before them in an npz file."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.paths: dict[str, list[str]] = {part: [] for part in self.listing.parts}

    def add(self, part: str, rows: Rows) -> int:
        with self._waiting(part).open("ab") as file:
            file.write(np.ascontiguousarray(rows[1], dtype="<f4").tobytes())
        self.paths[part] += rows[0]
        return len(rows[0])

    def close(self) -> None:
        with zipfile.ZipFile(self.draft, "w") as archive:
            for part, paths in self.paths.items():
                before = f"{part}_" if part else ""
                shape = (len(paths), self.features)
                with _member(archive, f"{before}features") as file:
                    _header(file, "<f4", shape)
                    if paths:
                        with self._waiting(part).open("rb") as waiting:
                            shutil.copyfileobj(waiting, file)
                if self.listing.classes is not None:
                    labels = [self.listing.labels[path] for path in paths]
                    _put(archive, f"{before}labels", np.asarray(labels, dtype=np.int64))
                names = [self.listing.name(path) for path in paths]
                _put(archive, f"{before}paths", np.asarray(names, dtype=np.str_))
            if self.listing.classes is not None:
                _put(archive, "classes", np.asarray(self.listing.classes, dtype=np.str_))
            _put(archive, "space", np.asarray(self.space))

    def _waiting(self, part: str) -> Path:
        return self.aside / f"{part}.features"


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    # A ZipInfo of its own has no time of day: the same features make the same file.
    return archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)


def _header(file: IO[bytes], kind: str, shape: tuple[int, ...]) -> None:
    facts = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, facts)


def _put(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with _member(archive, name) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


class _Parquet(_Writer):
    """A row group for every few thousand pictures."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.arrow = require("pyarrow", extra="data")
        parquet = require("pyarrow.parquet", extra="data")
        kinds = [("path", self.arrow.string()), ("label", self.arrow.string())]
        if len(self.listing.parts) > 1:
            kinds.append(("part", self.arrow.string()))
        kinds.append(("feature", self.arrow.list_(self.arrow.float32(), self.features)))
        said = {"fixhead": self.space, "classes": json.dumps(self.listing.classes)}
        self.schema = self.arrow.schema(kinds, metadata=said)
        self.file = parquet.ParquetWriter(self.draft, self.schema)
        self.rows: Counter[str] = Counter()
        self.columns: list[list[Any]] = [[] for _ in kinds]

    def add(self, part: str, rows: Rows) -> int:
        paths, features = rows
        numbers = map(self.listing.labels.get, paths)
        classes = self.listing.classes or ()
        labels = [None if number is None else classes[number] for number in numbers]
        columns: list[list[Any]] = [[self.listing.name(path) for path in paths], labels]
        if len(self.listing.parts) > 1:
            columns.append([part] * len(paths))
        columns.append([features])
        for held, new in zip(self.columns, columns, strict=True):
            held += new
        if len(self.columns[0]) >= GROUP:
            self._write()
        return len(paths)

    def close(self) -> None:
        self._write()
        self.file.close()

    def _write(self) -> None:
        *words, features = self.columns
        if not words[0]:
            return
        numbers = self.arrow.array(np.concatenate(features).reshape(-1))
        lists = self.arrow.FixedSizeListArray.from_arrays(numbers, self.features)
        texts = [self.arrow.array(column, self.arrow.string()) for column in words]
        self.file.write_table(self.arrow.table([*texts, lists], schema=self.schema))
        self.columns = [[] for _ in self.columns]

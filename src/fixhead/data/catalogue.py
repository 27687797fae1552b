"""The data sets by name, and anything that lies in a folder: ``load("digits")``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .._errors import RequestError, require
from .cache import Entry, Writer, cached, fingerprint
from .dataset import Dataset, Split
from .folder import load_folder
from .idx import read_idx
from .splits import holdout_split


@dataclass(frozen=True)
class Request:
    """What was asked of a loader, with everything that decides its answer."""

    name: str
    data_dir: Path | None
    cache_dir: Path | None
    image_size: int | None


@dataclass(frozen=True)
class Named:
    """A data set that has a name: its title for tables, its native size, and its loader."""

    title: str
    image_size: int
    load: Callable[[Request], Entry | Dataset]


def load(
    name_or_path: str,
    *,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    image_size: int | None = None,
) -> Dataset:
    """The data set of that name, or the image folder at that path.

    A name goes before a folder of the same name in the current directory: write ``./digits`` for
    the folder. ``data_dir`` is where a named data set's files lie; ``image_size`` resizes the
    images of a folder.

    Raises:
        RequestError: neither a known name nor a folder; files missing from ``data_dir`` or broken.
    """
    request = Request(name_or_path, data_dir, cache_dir, image_size)
    if name_or_path in DATASETS:
        return _named(DATASETS[name_or_path], request)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return _folder(path, request)
    raise RequestError(
        f"data needs one of {', '.join(DATASETS)}, or the path of an image folder, got "
        f"{name_or_path!r}"
    )


def _named(named: Named, request: Request) -> Dataset:
    if request.image_size not in (None, named.image_size):
        raise RequestError(
            f"image_size can only be chosen for image folders: {request.name!r} comes in "
            f"{named.image_size}x{named.image_size} pixels, got image_size={request.image_size}"
        )
    loaded = named.load(request)
    return loaded if isinstance(loaded, Dataset) else _dataset(request.name, named.title, loaded)


def _folder(path: Path, request: Request) -> Dataset:
    title = path.resolve().name
    name = re.sub(r"[^\w.-]+", "_", title) or "folder"
    entry = load_folder(path, name, image_size=request.image_size, cache_dir=request.cache_dir)
    return _dataset(name, title, entry)


def _dataset(name: str, title: str, entry: Entry) -> Dataset:
    return Dataset(name, title, entry.classes, entry.train, entry.test, entry.notes, entry.moments)


def _digits(request: Request) -> Dataset:
    """1,797 handwritten digits that come inside scikit-learn: (1, 8, 8), grey levels 0..16."""
    digits = require("sklearn.datasets", extra="lab").load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    train, test = holdout_split(labels)
    return Dataset(
        request.name,
        DATASETS[request.name].title,
        tuple("0123456789"),
        Split(images[train], labels[train]),
        Split(images[test], labels[test]),
        ("no test part: 20 % of every class, drawn with seed 0, serve as the test set",),
    )


MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def _mnist(request: Request) -> Entry:
    """The four idx files, gzipped or not, in the data folder or in its ``MNIST/raw``."""
    found = {
        part: tuple(_find(request, name, "MNIST/raw") for name in names)
        for part, names in MNIST_FILES.items()
    }
    source = {"kind": "idx", "files": fingerprint(file for pair in found.values() for file in pair)}
    return cached(
        request.name, source, lambda writer: _write_idx(writer, found), cache_dir=request.cache_dir
    )


def _write_idx(writer: Writer, found: dict[str, tuple[Path, ...]]) -> None:
    for part, (image_file, label_file) in found.items():
        images, labels = read_idx(image_file, ndim=3), read_idx(label_file, ndim=1)
        if len(images) != len(labels):
            raise RequestError(
                f"{image_file} and {label_file} need the same number of items, got {len(images)} "
                f"and {len(labels)}"
            )
        writer.images(part, (len(images), 1, *images.shape[1:]))[:] = images[:, None]
        writer.labels(part, labels.astype(np.int64))
    writer.describe("0123456789")


def _find(request: Request, name: str, inside: str) -> Path:
    """``name`` or ``name.gz`` in the data folder or in its sub-folder ``inside``."""
    if request.data_dir is None:
        raise RequestError(
            f"data {request.name!r} needs --data-dir, the folder that holds its files ({name} ...)"
        )
    for folder in (request.data_dir, request.data_dir / inside):
        for file in (folder / name, folder / f"{name}.gz"):
            if file.is_file():
                return file
    raise RequestError(
        f"data {request.name!r} needs {name} or {name}.gz in {request.data_dir} or in its "
        f"{inside}, and found neither; check --data-dir"
    )


DATASETS: dict[str, Named] = {
    "digits": Named("Handwritten digits (scikit-learn)", 8, _digits),
    "mnist": Named("MNIST", 28, _mnist),
}

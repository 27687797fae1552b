"""CIFAR-10 and CIFAR-100 as their authors publish them: pickled batches of rows (N, 3072).

A row holds 1,024 red, then green, then blue values of a 32 × 32 picture. The unpacked folder or the
archive (``cifar-10-python.tar.gz``) is read; see ``pickles.py`` for why that is safe.

Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._errors import RequestError
from ..cache import Entry
from .archive import find_members, member_files, read_members
from .arrays import Arrays, open_arrays
from .lists import as_text
from .pickles import read_pickle
from .request import Request


@dataclass(frozen=True)
class Layout:
    """Names inside one of the two archives."""

    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    labels: str
    names: str

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, *self.test, self.meta)


CIFAR10 = Layout(
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test=("test_batch",),
    meta="batches.meta",
    labels="labels",
    names="label_names",
)
CIFAR100 = Layout(
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    train=("train",),
    test=("test",),
    meta="meta",
    labels="fine_labels",
    names="fine_label_names",
)


def load_cifar10(request: Request) -> Entry:
    """CIFAR-10 from ``cifar-10-batches-py`` or its archive."""
    return _load(request, CIFAR10)


def load_cifar100(request: Request) -> Entry:
    """CIFAR-100 (the 100 fine classes) from ``cifar-100-python`` or its archive."""
    return _load(request, CIFAR100)


def _load(request: Request, layout: Layout) -> Entry:
    place = find_members(request, layout.folder, layout.archive)
    read: dict[str, dict[str, Any]] = {}

    def batches() -> dict[str, dict[str, Any]]:
        if not read:  # one pass through the archive serves both parts
            for name, content in read_members(place, layout.folder, layout.files):
                read[name] = read_pickle(content, f"{name} of {place}")
        return read

    def part(which: str) -> Arrays:
        names = layout.train if which == "train" else layout.test
        return _joined([_batch(batches()[name], layout.labels, name) for name in names])

    def classes() -> Iterable[str]:
        names = _field(batches()[layout.meta], layout.names, layout.meta)
        if not isinstance(names, list) or not all(isinstance(n, str | bytes) for n in names):
            raise RequestError(f"{layout.meta} needs a list of class names in {layout.names}")
        return [n if isinstance(n, str) else as_text(n, layout.meta) for n in names]

    return open_arrays(request, member_files(place, layout.files), classes, part)


def _batch(batch: dict[str, Any], labels: str, name: str) -> Arrays:
    rows = _field(batch, "data", name)
    if getattr(rows, "ndim", 0) != 2 or rows.shape[1] != 3072:
        raise RequestError(f"{name} needs images as rows of 3072 numbers; download it again")
    return Arrays(rows.reshape(-1, 3, 32, 32), np.asarray(_field(batch, labels, name)))


def _field(batch: dict[str, Any], key: str, name: str) -> Any:
    if key not in batch:
        raise RequestError(f"{name} needs an entry {key!r}, got {', '.join(map(str, batch))}")
    return batch[key]


def _joined(parts: list[Arrays]) -> Arrays:
    return Arrays(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

"""What a person wants to know about a data set before training on it: list, check, prepare."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .catalogue import DATASETS, open_request
from .checksums import verify
from .dataset import Dataset, Split, chunks
from .encoded import Progress
from .longtail import parse_long_tail
from .sources.request import Request


@dataclass(frozen=True)
class Listed:
    """One named data set, as ``fixhead data list`` shows it."""

    name: str
    title: str
    classes: int
    image_size: int
    needs: str


@dataclass(frozen=True)
class Counts:
    """One part of a data set: how many images, of how many classes, and of each class by name."""

    images: int
    classes: int
    per_class: dict[str, int]


@dataclass(frozen=True)
class Check:
    """What ``fixhead data check`` found.

    ``duplicates``: test images whose very pixels are also a training image; ``disagreeing`` of
    them have another label there. ``checksums``: "ok" or "differs" by path, for files that a sum
    is known of. ``imbalance``: the training part that a long tail would leave.
    """

    name: str
    title: str
    channels: int
    image_size: int
    splits: dict[str, Counts]
    duplicates: int
    disagreeing: int
    checksums: dict[str, str]
    notes: tuple[str, ...]
    imbalance: dict[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Whether every known checksum agrees."""
        return "differs" not in self.checksums.values()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"passed": self.passed}


@dataclass(frozen=True)
class Prepared:
    """What ``fixhead data prepare`` did; ``folder`` is None for sets that need no cache."""

    name: str
    images: int
    folder: str | None
    bytes: int
    seconds: float
    images_per_second: float
    notes: tuple[str, ...] = field(default=())


def list_datasets() -> tuple[Listed, ...]:
    """Every data set that has a name."""
    return tuple(
        Listed(name, named.title, named.classes, named.image_size, named.needs)
        for name, named in DATASETS.items()
    )


def check(
    name_or_path: str,
    *,
    data_dir: Path | None = None,
    image_size: int | None = None,
    imbalance: str | None = None,
) -> Check:
    """Load a data set, count it, compare its parts pixel by pixel, and verify its checksums.

    Raises:
        RequestError: it cannot be loaded, or the long tail cannot be met.
    """
    tail = None if imbalance is None else parse_long_tail(imbalance)
    request = Request(name_or_path, data_dir, image_size=image_size)
    data = open_request(request)
    shared, disagreeing = duplicates(data)
    sizes = data.train.counts(len(data.classes))
    return Check(
        data.name,
        data.title,
        data.channels,
        data.image_size,
        {"train": _counts(data, data.train), "test": _counts(data, data.test)},
        shared,
        disagreeing,
        verify(data.name, request.used),
        data.notes,
        None if tail is None else _tail(data, str(tail), tail.counts(sizes)),
    )


def duplicates(data: Dataset) -> tuple[int, int]:
    """How many test images are also training images, and how many of those under another label."""
    known: dict[bytes, set[int]] = {}
    for digest, label in _digests(data.train):
        known.setdefault(digest, set()).add(label)
    shared = [(label, known[digest]) for digest, label in _digests(data.test) if digest in known]
    return len(shared), sum(label not in labels for label, labels in shared)


def prepare(
    name_or_path: str,
    *,
    data_dir: Path | None = None,
    image_size: int | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Decode a data set into the cache now, so that the first training run need not.

    Raises:
        RequestError: it cannot be loaded.
    """
    request = Request(name_or_path, data_dir, image_size=image_size, progress=progress)
    start = time.perf_counter()
    data = open_request(request)
    seconds = time.perf_counter() - start
    images = len(data.train) + len(data.test)
    folder = _folder(data)
    size = 0 if folder is None else sum(file.stat().st_size for file in folder.iterdir())
    place = None if folder is None else str(folder)
    return Prepared(data.name, images, place, size, seconds, images / seconds, data.notes)


def _counts(data: Dataset, split: Split) -> Counts:
    counts = split.counts(len(data.classes)).tolist()
    per_class = dict(zip(data.classes, counts, strict=True))
    return Counts(len(split), sum(count > 0 for count in counts), per_class)


def _tail(data: Dataset, rule: str, counts: Any) -> dict[str, Any]:
    per_class = dict(zip(data.classes, counts.tolist(), strict=True))
    return {"rule": rule, "images": int(counts.sum()), "per_class": per_class}


def _digests(split: Split) -> Iterator[tuple[bytes, int]]:
    labels = iter(split.labels.tolist())
    for chunk in chunks(split.images):
        for image in np.ascontiguousarray(chunk):
            yield hashlib.blake2b(image.data, digest_size=16).digest(), next(labels)


def _folder(data: Dataset) -> Path | None:
    images = data.train.images
    return Path(str(images.filename)).parent if isinstance(images, np.memmap) else None

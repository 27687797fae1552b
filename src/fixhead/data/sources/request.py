"""What was asked of a reader, where its files are looked for, and how encoded images are opened.

Encoded images are decoded once into the cache or, where the decoded set would not fit in memory,
again in every epoch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..._errors import RequestError
from ..cache import CacheWriter, LoadedData, cached, fingerprint
from ..dataset import PixelSubset, Split, moments
from ..encoded import EncodedPart, Progress, Streamed, common_header, decode_into
from ..splits import holdout_split

SAMPLE = 2048
"""Streamed sets take their mean and deviation from this many images, evenly spaced."""

CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")

NO_TEST = "no test part: 20 % of every class, drawn with seed 0, serve as the test set"


@dataclass(frozen=True)
class DataRequest:
    """A name or path with everything else that decides what a loader answers.

    ``native`` is the size that a named set's images have where they are not resized; ``progress``
    is told how many images are decoded; ``used`` collects the files that a loader reads.
    """

    name: str
    data_dir: Path | None = None
    cache_dir: Path | None = None
    image_size: int | None = None
    stream: bool | None = None
    native: int | None = None
    progress: Progress | None = field(default=None, compare=False)
    used: list[Path] = field(default_factory=list, compare=False)

    def fingerprint(self, files: Iterable[Path]) -> str:
        """The digest of the files that decide the content; they are noted in ``used``."""
        found = list(files)
        self.used.extend(found)
        return fingerprint(found)

    def root(self, needed: str) -> Path:
        """The folder given as ``--data-dir``.

        Raises:
            RequestError: none was given, or it is no folder.
        """
        if self.data_dir is None:
            raise RequestError(
                f"data {self.name!r} needs --data-dir, the folder that holds its files ({needed})"
            )
        root = Path(self.data_dir).expanduser()
        if not root.is_dir():
            raise RequestError(f"--data-dir needs an existing folder, got {root}")
        return root

    def find(self, names: tuple[str, ...], inside: tuple[str, ...]) -> Path:
        """The first of ``names`` (files or folders) in the data folder or in one of ``inside``.

        Raises:
            RequestError: none of them is there.
        """
        root = self.root(names[0])
        for folder in (root, *(root / place for place in inside)):
            for name in names:
                if (folder / name).exists():
                    return folder / name
        places = " or ".join([str(root), *(f"its {place}" for place in inside)])
        raise RequestError(
            f"data {self.name!r} needs {' or '.join(names)} in {places}, and found none; check "
            "--data-dir"
        )

    def open(
        self,
        fingerprint: str,
        classes: tuple[str, ...],
        train: EncodedPart,
        test: EncodedPart | None,
        *,
        notes: tuple[str, ...] = (),
        channels: int | None = None,
    ) -> LoadedData:
        """Decode these images into the cache, or stream them; without ``test``, hold a fifth out.

        ``fingerprint`` holds everything that decides the content (for the cache's key).
        ``channels`` is 1 or 3 where it is known, else None: 3 if any image has colour. Without an
        ``image_size`` the images keep their own, which must be one and square (and ``native``,
        where given). ``stream=None`` streams a set whose decoded images would take more than this
        machine's memory, which can only be known where ``image_size`` is given.

        Raises:
            RequestError: an unreadable image (named), sizes that differ, a cache that cannot be
                written.
        """
        if test is None:
            kept, held = holdout_split(train.labels)
            train, test, notes = train.take(kept), train.take(held), (*notes, NO_TEST)
        size, stream = self.image_size, self.stream
        if stream is None and size is not None:
            images = len(train.items) + len(test.items)
            stream = images * (channels or 3) * size**2 > memory_bytes()
        if stream:
            return self._streamed(classes, train, test, notes, channels or 3)
        key = {
            "kind": "encoded",
            "files": fingerprint,
            "image_size": size,
            "channels": channels,
            "native": self.native,
            "classes": list(classes),
        }

        def build(writer: CacheWriter) -> None:
            known = self.native if size is None else size
            header = common_header((train.items, test.items), known, channels)
            for name, part in (("train", train), ("test", test)):
                shape = (len(part.items), header.channels, header.height, header.width)
                decode_into(writer.images(name, shape), part.items, size, self.progress)
                writer.labels(name, part.labels)
            writer.describe(classes, notes)

        return cached(self.name, key, build, cache_dir=self.cache_dir)

    def _streamed(
        self,
        classes: tuple[str, ...],
        train: EncodedPart,
        test: EncodedPart,
        notes: tuple[str, ...],
        channels: int,
    ) -> LoadedData:
        size = self.image_size or self.native
        if size is None:
            raise RequestError(f"streaming {self.name!r} needs --image-size, got none")
        images = Streamed(train.items, channels, size)
        sample = np.unique(np.linspace(0, len(images) - 1, SAMPLE).astype(np.int64))
        note = (
            "streamed: nothing decoded is kept on disk; mean and deviation come from "
            f"{len(sample)} of the training images"
        )
        return LoadedData(
            classes,
            Split(images, train.labels),
            Split(Streamed(test.items, channels, size), test.labels),
            (*notes, note),
            moments(PixelSubset(images, sample)),
        )


def memory_bytes() -> int:
    """The memory of this machine, or of the container that it is given to."""
    if not hasattr(os, "sysconf"):
        return 1 << 34  # Windows does not say without a further package: 16 GiB
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = CONTAINER_LIMIT.read_text().strip()
    except OSError:
        return machine
    return min(machine, int(limit)) if limit.isdigit() else machine

"""What was asked of a reader, where its files are looked for, and how encoded images are opened.

Encoded images are decoded once into the cache or, where the decoded set would not fit in memory,
again in every epoch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..._errors import RequestError
from ..cache import CacheWriter, LoadedData, Skipped, cached, fingerprint
from ..dataset import Labels, PixelSubset, Split, moments
from ..encoded import (
    Decoding,
    EncodedPart,
    Items,
    ItemSubset,
    Progress,
    Streamed,
    common_header,
    decode_into,
    find_unreadable,
    used_bits,
)
from ..reading import Reading
from ..splits import holdout_split

SAMPLE = 2048
"""Streamed sets take their mean and deviation from this many images, evenly spaced."""

CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")

NO_TEST = "no test part: 20 % of every class, drawn with seed 0, serve as the test set"


@dataclass(frozen=True)
class DataRequest:
    """A name or path with everything else that decides what a loader answers.

    ``native`` is the size that a named set's images have where they are not resized; ``progress``
    is told how many images are decoded; ``before_decoding`` is told how many classes there are, and
    may refuse them; ``used`` collects the files that a loader reads.
    """

    name: str
    data_dir: Path | None = None
    cache_dir: Path | None = None
    image_size: int | None = None
    stream: bool | None = None
    native: int | None = None
    reading: Reading = field(default_factory=Reading)
    progress: Progress | None = field(default=None, compare=False)
    before_decoding: Callable[[int], None] = field(default=lambda classes: None, compare=False)
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
        groups = self._groups(train)
        if test is None:
            kept, held = holdout_split(train.labels, groups=groups)
            if groups is not None:  # another cut than without groups is another entry
                fingerprint = hashlib.sha256(fingerprint.encode() + held.tobytes()).hexdigest()
                groups = groups[kept]
            train, test, notes = train.take(kept), train.take(held), (*notes, NO_TEST)
        size, stream = self.image_size, self.stream
        if stream is None and size is not None:
            images = len(train.items) + len(test.items)
            stream = images * (channels or 3) * size**2 > memory_bytes()
        parts = {"train": train, "test": test}
        if stream:
            loaded = self._streamed(classes, parts, notes, channels or 3)
        else:
            loaded = self._cached(fingerprint, classes, parts, notes, channels)
        kept = np.delete(np.arange(len(train.items)), list(loaded.skipped.get("train", {})))
        items = train.items if len(kept) == len(train.items) else ItemSubset(train.items, kept)
        loaded = replace(loaded, train=replace(loaded.train, items=items))
        if groups is None:
            return loaded
        groups = np.delete(groups, list(loaded.skipped.get("train", {})))
        return replace(loaded, train=replace(loaded.train, groups=groups))

    def _cached(
        self,
        fingerprint: str,
        classes: tuple[str, ...],
        parts: dict[str, EncodedPart],
        notes: tuple[str, ...],
        channels: int | None,
    ) -> LoadedData:
        key = {
            "kind": "encoded",
            "files": fingerprint,
            "image_size": self.image_size,
            "channels": channels,
            "native": self.native,
            "classes": list(classes),
        }
        if self.reading.skip_unreadable:
            key["skip_unreadable"] = True

        def build(writer: CacheWriter) -> None:
            self.before_decoding(len(classes))
            whole, skipped = self._readable(parts)
            items = [part.items for part in whole.values()]
            known = self.native if self.image_size is None else self.image_size
            limit = self.reading.max_pixels
            header = common_header(items, known, channels, max_pixels=limit)
            bits, more = self._bits(items)
            decoding = Decoding(self.image_size, header.channels, bits, limit)
            for name, part in whole.items():
                shape = (len(part.items), header.channels, header.height, header.width)
                decode_into(writer.images(name, shape), part.items, decoding, self.progress)
                writer.labels(name, part.labels)
            writer.describe(classes, (*notes, *more), skipped, bits)

        return cached(self.name, key, build, cache_dir=self.cache_dir)

    def _streamed(
        self,
        classes: tuple[str, ...],
        parts: dict[str, EncodedPart],
        notes: tuple[str, ...],
        channels: int,
    ) -> LoadedData:
        size = self.image_size or self.native
        if size is None:
            raise RequestError(f"streaming {self.name!r} needs --image-size, got none")
        self.before_decoding(len(classes))
        whole, skipped = self._readable(parts)
        bits, more = self._bits([part.items for part in whole.values()])
        decoding = Decoding(size, channels, bits, self.reading.max_pixels)
        train, test = (
            Split(Streamed(part.items, decoding), part.labels) for part in whole.values()
        )
        sample = np.unique(np.linspace(0, len(train) - 1, SAMPLE).astype(np.int64))
        note = (
            "streamed: nothing decoded is kept on disk; mean and deviation come from "
            f"{len(sample)} of the training images"
        )
        measured = moments(PixelSubset(train.images, sample))
        return LoadedData(classes, train, test, (*notes, *more, note), measured, skipped, bits)

    def _groups(self, train: EncodedPart) -> Labels | None:
        """The group of every training image: (N,), where ``keep_together`` names any."""
        group_of = self.reading.grouping()
        if group_of is None:
            return None
        names = [train.items.name(index) for index in range(len(train.items))]
        shared = os.path.commonpath(names) if all(map(os.path.isabs, names)) else ""
        groups = [group_of(name.removeprefix(shared)) for name in names]
        numbered: Labels = np.unique(groups, return_inverse=True)[1].astype(np.int64)
        return numbered

    def _readable(self, parts: dict[str, EncodedPart]) -> tuple[dict[str, EncodedPart], Skipped]:
        """The parts without the images that cannot be decoded, where those are to be skipped."""
        if not self.reading.skip_unreadable:
            return parts, {}
        whole, skipped = {}, {}
        for name, part in parts.items():
            skipped[name] = find_unreadable(part.items, self.reading.max_pixels)
            kept = np.delete(np.arange(len(part.items)), list(skipped[name]))
            if not len(kept):
                raise RequestError(f"data {self.name!r} has no readable image in its {name} part")
            whole[name] = part.take(kept) if skipped[name] else part
        return whole, {name: found for name, found in skipped.items() if found}

    def _bits(self, items: Sequence[Items]) -> tuple[int, tuple[str, ...]]:
        bits = used_bits(items, max_pixels=self.reading.max_pixels)
        if bits is None or bits == 16:
            return 16, ()
        return bits, (
            f"the 16-bit images use only {bits} bits: levels 0 to {2**bits - 1} become 0 to 255",
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

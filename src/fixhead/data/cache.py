"""Images decoded once, kept as memory-mapped arrays: ``CACHE/NAME-DIGEST/``.

The digest is of the source (paths, sizes, times, image size) and of ``FORMAT``, so a changed source
is another entry. An entry is written beside its place and renamed into it when it is whole; an
entry whose files are not as long as its ``about.json`` says is built again, never half used.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import RequestError
from .dataset import Labels, Split, moments

try:
    import fcntl
except ImportError:  # Windows: two builders may both build; the rename still keeps one, whole
    fcntl = None  # type: ignore[assignment]

FORMAT = 1
ABOUT = "about.json"
PARTS = ("train", "test")

Skipped = dict[str, dict[int, str]]
"""By part: the images that were left out because they cannot be decoded, by number, and why."""


@dataclass(frozen=True)
class LoadedData:
    """What the cache holds of one data set."""

    classes: tuple[str, ...]
    train: Split
    test: Split
    notes: tuple[str, ...]
    moments: tuple[tuple[float, ...], tuple[float, ...]]
    skipped: Skipped = field(default_factory=dict)
    bits: int = 16


class CacheWriter:
    """Where a loader puts what it reads; ``classes`` and ``notes`` are said with the labels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about: dict[str, Any] = {}

    def images(self, part: str, shape: tuple[int, ...], dtype: str = "uint8") -> NDArray[Any]:
        """A new array on disk to fill, e.g. ``writer.images("train", (N, C, H, W))``."""
        path = self.folder / f"{part}_images.npy"
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)

    def labels(self, part: str, labels: Labels) -> None:
        np.save(self.folder / f"{part}_labels.npy", np.asarray(labels, dtype=np.int64))

    def describe(
        self,
        classes: Iterable[str],
        notes: Iterable[str] = (),
        skipped: Skipped | None = None,
        bits: int = 16,
    ) -> None:
        self.about = {"classes": list(classes), "notes": list(notes), "skipped": skipped or {}}
        self.about["bits"] = bits


def cache_folder(given: Path | None = None) -> Path:
    """``given``, or $FIXHEAD_CACHE, or ``fixhead`` in the user's cache folder."""
    if given is not None:
        return Path(given)
    if os.environ.get("FIXHEAD_CACHE"):
        return Path(os.environ["FIXHEAD_CACHE"])
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(home) if home else Path.home() / ".cache") / "fixhead"


def fingerprint(paths: Iterable[Path]) -> str:
    """SHA-256 over the path, size and time of change of every file, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        digest.update(os.fsencode(path.resolve()))
        digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def cached(
    name: str,
    source: Mapping[str, object],
    build: Callable[[CacheWriter], None],
    *,
    cache_dir: Path | None = None,
) -> LoadedData:
    """The entry for this source, built with ``build(writer)`` if it is not there whole.

    ``source`` must hold everything that decides the content. Safe against a second process that
    builds the same entry: it waits for the lock and then finds the entry.

    Raises:
        RequestError: the cache folder cannot be written, or the disk is full.
    """
    text = json.dumps({"format": FORMAT, **source}, sort_keys=True)
    place = cache_folder(cache_dir) / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"
    entry = _open(place)
    if entry is None:
        with _refusing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            with _locked(place):
                entry = _open(place)
                if entry is None:
                    _build(place, build)
                    entry = _open(place)
    if entry is None:
        raise RequestError(f"the cache entry {place} cannot be read back; remove it and try again")
    return entry


def _open(place: Path) -> LoadedData | None:
    """The entry, or None if it is missing, of another version, or not as long as it should be."""
    try:
        about = json.loads((place / ABOUT).read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            return None
        if any((place / file).stat().st_size != size for file, size in about["files"].items()):
            return None
        train, test = (_split(place, part) for part in PARTS)
        mean, std = (tuple(map(float, about[key])) for key in ("mean", "std"))
        skipped = {
            part: {int(index): reason for index, reason in found.items()}
            for part, found in about.get("skipped", {}).items()
        }
        classes, notes = tuple(about["classes"]), tuple(about["notes"])
        bits = int(about.get("bits", 16))
        return LoadedData(classes, train, test, notes, (mean, std), skipped, bits)
    except (OSError, ValueError, KeyError, TypeError, EOFError):  # RequestError is a ValueError
        return None


def _split(place: Path, part: str) -> Split:
    # Copy-on-write: torch may look at the pages as they are, and nothing can reach the file.
    images = np.load(place / f"{part}_images.npy", mmap_mode="c")
    return Split(images, np.load(place / f"{part}_labels.npy"))


def _build(place: Path, build: Callable[[CacheWriter], None]) -> None:
    for left_over in place.parent.glob(f".{place.name}.*.part"):
        shutil.rmtree(left_over, ignore_errors=True)  # its builder was killed: we hold the lock
    folder = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".part", dir=place.parent))
    try:
        _fill(folder, build)
        _move(folder, place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(folder: Path, build: Callable[[CacheWriter], None]) -> None:
    writer = CacheWriter(folder)
    build(writer)
    mean, std = moments(np.load(folder / "train_images.npy", mmap_mode="r"))
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    for file in files:
        _sync(folder / file)
    about = {"format": FORMAT, **writer.about, "mean": mean, "std": std, "files": files}
    (folder / ABOUT).write_text(json.dumps(about), encoding="utf-8")
    _sync(folder / ABOUT)


def _move(folder: Path, place: Path) -> None:
    if place.exists():  # cut off, or of another version: out of the way first, in one step
        aside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".part", dir=place.parent))
        place.rename(aside / "old")
        shutil.rmtree(aside, ignore_errors=True)
    try:
        folder.rename(place)
    except OSError:
        if _open(place) is None:  # not another builder's whole entry
            raise


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    if fcntl is None:
        yield
        return
    with (place.parent / f".{place.name}.lock").open("w") as file:
        with suppress(OSError):  # a file system without locks: as on Windows
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _refusing(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, RequestError) or error.errno not in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EACCES,
            errno.EPERM,
            errno.EROFS,
            errno.ENOTDIR,
            errno.EEXIST,
        ):
            raise
        raise RequestError(
            f"the cache folder {place.parent} needs to be writable with room for the decoded "
            f"images, got: {error.strerror}; set FIXHEAD_CACHE to another folder"
        ) from error

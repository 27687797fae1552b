"""Any image folder: ``DIR/train/CLASS/*`` with ``DIR/test|val/CLASS/*``, or ``DIR/CLASS/*``."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._errors import RequestError
from .cache import Entry, Writer, cached, fingerprint
from .dataset import Labels
from .images import SUFFIXES, Header, decode, read_header
from .splits import holdout_split

TEST_NAMES = ("test", "val", "validation", "valid")
BLOCK = 64
"""Images per task of the decoding threads."""


@dataclass(frozen=True)
class Tree:
    """The image files below one folder: one label per file, files in a stable order."""

    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: Labels
    passed_over: tuple[Path, ...]


@dataclass
class _Walk:
    files: list[Path] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)


def load_folder(
    root: Path, name: str, *, image_size: int | None = None, cache_dir: Path | None = None
) -> Entry:
    """The image folder ``root``, through the cache.

    Without a test part, 20 % of every class become it (stratified, always seed 0). Images of
    different sizes need ``image_size``; one colour image makes the set a colour set.

    Raises:
        RequestError: no images, an empty class, class folders that differ between the two parts,
            an unreadable or moving image, mixed sizes without ``image_size``, a loop of links.
    """
    train, test = trees(root)
    parts = [tree for tree in (train, test) if tree is not None]
    source = {
        "kind": "folder",
        "image_size": image_size,
        "files": fingerprint(file for tree in parts for file in tree.files),
    }
    return cached(
        name, source, lambda writer: _write(writer, train, test, image_size), cache_dir=cache_dir
    )


def trees(root: Path) -> tuple[Tree, Tree | None]:
    """The training and test trees of a folder; the test tree is None where there is none."""
    train = root / "train"
    if not train.is_dir():
        return scan(root), None
    test = next((root / name for name in TEST_NAMES if (root / name).is_dir()), None)
    if test is None:
        return scan(train), None
    learned, tested = scan(train), scan(test)
    _same_classes(train, test, learned.classes, tested.classes)
    return learned, tested


def scan(root: Path) -> Tree:
    """The classes (sub-folders, sorted) and image files below ``root``; links are followed.

    Raises:
        RequestError: no class folders, images beside them, an empty class, two names that are one
            after Unicode normalisation, or a link that leads back into a folder above it.
    """
    children = sorted(path for path in root.iterdir() if not _hidden(path))
    folders = [path for path in children if path.is_dir()]
    loose = [path for path in children if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not folders or loose:
        found = f"{len(loose)} images in {root} itself" if loose else "none"
        raise RequestError(
            f"{root} needs one folder per class with its images inside (DIR/CLASS/image.png), "
            f"got {found}"
        )
    _distinct(root, folders)
    files, labels = [], []
    passed_over = [path for path in children if not path.is_dir()]
    for label, folder in enumerate(folders):
        walk = _Walk()
        _descend(folder, walk, above=(_identity(root),))
        if not walk.files:
            raise RequestError(f"class folder {folder} needs images, got none; remove the folder")
        files += walk.files
        labels += [label] * len(walk.files)
        passed_over += walk.passed_over
    classes = tuple(folder.name for folder in folders)
    return Tree(classes, tuple(files), np.asarray(labels, dtype=np.int64), tuple(passed_over))


def _descend(folder: Path, walk: _Walk, above: tuple[tuple[int, int], ...]) -> None:
    here = _identity(folder)
    if here in above:
        raise RequestError(f"{folder} is a link back into a folder above it; remove the loop")
    for path in sorted(folder.iterdir()):
        if _hidden(path):
            continue
        if path.is_dir():
            _descend(path, walk, (*above, here))
        elif path.suffix.lower() in SUFFIXES:
            walk.files.append(path)
        else:
            walk.passed_over.append(path)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _distinct(root: Path, folders: Iterable[Path]) -> None:
    seen: dict[str, str] = {}
    for folder in folders:
        plain = unicodedata.normalize("NFC", folder.name)
        if plain in seen:
            raise RequestError(f"{root} needs class names that differ, got {plain!r} twice")
        seen[plain] = folder.name


def _same_classes(
    train: Path, test: Path, learned: tuple[str, ...], tested: tuple[str, ...]
) -> None:
    only = [
        f"{', '.join(sorted(names)[:3])} only in {place}"
        for place, names in (
            (train, set(learned) - set(tested)),
            (test, set(tested) - set(learned)),
        )
        if names
    ]
    if only:
        raise RequestError(
            f"{train} and {test} need the same class folders, got {' and '.join(only)}"
        )


def _write(writer: Writer, train: Tree, test: Tree | None, image_size: int | None) -> None:
    notes = [_passed_over(tree) for tree in (train, test) if tree is not None and tree.passed_over]
    files, labels = [np.asarray(train.files, dtype=object)], [train.labels]
    if test is None:
        kept, held = holdout_split(train.labels)
        files, labels = [files[0][kept], files[0][held]], [labels[0][kept], labels[0][held]]
        notes.append("no test part: 20 % of every class, drawn with seed 0, serve as the test set")
    else:
        files, labels = [*files, np.asarray(test.files, dtype=object)], [*labels, test.labels]
    header = common_header([*files[0], *files[1]], image_size)
    for part, paths, targets in zip(("train", "test"), files, labels, strict=True):
        shape = (len(paths), header.channels, header.height, header.width)
        decode_into(writer.images(part, shape), list(paths), image_size)
        writer.labels(part, targets)
    writer.describe(train.classes, notes)


def _passed_over(tree: Tree) -> str:
    names = ", ".join(path.name for path in tree.passed_over[:3])
    more = ", ..." if len(tree.passed_over) > 3 else ""
    return f"passed over {len(tree.passed_over)} files that are no images ({names}{more})"


def common_header(files: list[Path], image_size: int | None) -> Header:
    """The one size of all images (or ``image_size``), and 3 channels if any has colour.

    Raises:
        RequestError: sizes that differ or are not square, and no ``image_size``.
    """
    with ThreadPoolExecutor(_threads()) as pool:
        headers = list(pool.map(lambda file: read_header(file, str(file)), files))
    channels = max(header.channels for header in headers)
    if image_size is not None:
        return Header(image_size, image_size, channels)
    first = headers[0]
    for file, header in zip(files, headers, strict=True):
        if (header.height, header.width) != (first.height, first.width):
            raise RequestError(
                f"images need one size, got {first.width}x{first.height} ({files[0]}) and "
                f"{header.width}x{header.height} ({file}); give --image-size"
            )
    if first.height != first.width:
        raise RequestError(
            f"images need to be square, got {first.width}x{first.height} ({files[0]}); "
            "give --image-size"
        )
    return Header(first.height, first.width, channels)


def decode_into(images: NDArray[np.uint8], files: list[Path], image_size: int | None) -> None:
    """Decode ``files`` into ``images`` (N, C, H, W) with a few threads (PIL lets go of the GIL)."""
    channels = images.shape[1]

    def block(start: int) -> None:
        for place in range(start, min(start + BLOCK, len(files))):
            file = files[place]
            images[place] = decode(file, str(file), channels=channels, image_size=image_size)

    with ThreadPoolExecutor(_threads()) as pool:
        for _ in pool.map(block, range(0, len(files), BLOCK)):
            pass


def _threads() -> int:
    return min(16, os.cpu_count() or 1)

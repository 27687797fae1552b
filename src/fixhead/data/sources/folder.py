"""Any image folder: ``DIR/train/CLASS/*`` with ``DIR/test|val/CLASS/*``, or ``DIR/CLASS/*``."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..._errors import RequestError
from ..cache import LoadedData
from ..dataset import Labels
from ..encoded import EncodedPart, Files
from ..images import SUFFIXES
from .request import DataRequest

TEST_NAMES = ("test", "val", "validation", "valid")


@dataclass(frozen=True)
class Tree:
    """The image files below one folder: one label per file, files in a stable order."""

    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: Labels
    passed_over: tuple[Path, ...]

    @property
    def part(self) -> EncodedPart:
        return EncodedPart(Files(self.files), self.labels)


@dataclass
class _Walk:
    files: list[Path] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)


def load_folder(root: Path, request: DataRequest, *, channels: int | None = None) -> LoadedData:
    """The image folder ``root``, through the cache, or streamed where it is larger than memory.

    Without a test part, 20 % of every class become it (stratified, always seed 0). Images of
    different sizes need ``image_size``; one colour image makes the set a colour set.

    Raises:
        RequestError: no images, an empty class, class folders that differ between the two parts,
            an unreadable or moving image, mixed sizes without ``image_size``, a loop of links.
    """
    train, test = trees(root)
    both = [tree for tree in (train, test) if tree is not None]
    return request.open(
        request.fingerprint(file for tree in both for file in tree.files),
        train.classes,
        train.part,
        None if test is None else test.part,
        notes=tuple(passed_over(tree.passed_over) for tree in both if tree.passed_over),
        channels=channels,
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
    children = _entries(root)
    folders = [path for path in children if path.is_dir()]
    loose = [path for path in children if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not folders or loose:
        found = f"{len(loose)} images in {root} itself" if loose else "none"
        raise RequestError(
            f"{root} needs one folder per class with its images inside (DIR/CLASS/image.png), "
            f"got {found}"
        )
    _distinct(root, folders)
    walks = [_walk(folder, root) for folder in folders]
    over = [path for path in children if not path.is_dir()]
    return Tree(
        tuple(folder.name for folder in folders),
        tuple(file for walk in walks for file in walk.files),
        np.repeat(np.arange(len(walks)), [len(walk.files) for walk in walks]),
        tuple(over + [path for walk in walks for path in walk.passed_over]),
    )


def passed_over(paths: Iterable[Path]) -> str:
    """The note on files that are no images."""
    names = [path.name for path in paths]
    more = ", ..." if len(names) > 3 else ""
    return f"passed over {len(names)} files that are no images ({', '.join(names[:3])}{more})"


def hidden(path: Path) -> bool:
    """Files that systems leave in folders, and that nobody means."""
    return path.name.startswith(".") or path.name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _walk(folder: Path, root: Path) -> _Walk:
    walk = _Walk()
    _descend(folder, walk, above=(_identity(root),))
    if not walk.files:
        raise RequestError(f"class folder {folder} needs images, got none; remove the folder")
    return walk


def _descend(folder: Path, walk: _Walk, above: tuple[tuple[int, int], ...]) -> None:
    here = _identity(folder)
    if here in above:
        raise RequestError(f"{folder} is a link back into a folder above it; remove the loop")
    for path in _entries(folder):
        if path.is_dir():
            _descend(path, walk, (*above, here))
        elif path.suffix.lower() not in SUFFIXES:
            walk.passed_over.append(path)
        elif path.is_file():
            walk.files.append(path)
        elif path.is_symlink():
            raise RequestError(f"{path} is a link that leads to no file; repair or remove it")
        else:  # a pipe or a device: opening it might wait for ever
            walk.passed_over.append(path)


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder and is meant, sorted."""
    try:
        return sorted(path for path in folder.iterdir() if not hidden(path))
    except OSError as error:
        raise RequestError(f"folder {folder} cannot be read ({error.strerror})") from error


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _distinct(root: Path, folders: Iterable[Path]) -> None:
    seen: set[str] = set()
    for folder in folders:
        plain = unicodedata.normalize("NFC", folder.name)
        if plain in seen:
            raise RequestError(f"{root} needs class names that differ, got {plain!r} twice")
        seen.add(plain)


def _same_classes(
    train: Path, test: Path, learned: tuple[str, ...], tested: tuple[str, ...]
) -> None:
    pairs = ((train, set(learned) - set(tested)), (test, set(tested) - set(learned)))
    only = [f"{', '.join(sorted(names)[:3])} only in {place}" for place, names in pairs if names]
    if only:
        raise RequestError(
            f"{train} and {test} need the same class folders, got {' and '.join(only)}"
        )

"""Any image folder: ``DIR/train/CLASS/*`` with ``DIR/test|val/CLASS/*``, or ``DIR/CLASS/*``."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..._errors import RequestError
from ..cache import LoadedData
from ..dataset import Labels
from ..encoded import EncodedPart, Files
from ..images import SUFFIXES
from ..reading import Reading
from .files import is_left_over, readable
from .labels import choose_parts, hidden_note, no_training_part, part_of
from .request import DataRequest

WHOLE = "."
"""``--train-part .`` reads the sub-folders as classes, whatever they are called and hold."""

OTHER_PICTURES = {
    **dict.fromkeys((".heic", ".heif"), "pillow-heif"),
    **dict.fromkeys((".avif",), "pillow-avif-plugin"),
    **dict.fromkeys((".jxl",), "pillow-jxl-plugin"),
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf"), "rawpy"),
    **dict.fromkeys((".dcm", ".dicom"), "pydicom"),
    **dict.fromkeys((".svg",), "CairoSVG"),
    **dict.fromkeys((".jp2", ".j2k"), "Pillow's Image.open"),
}
"""Pictures that are not read here, and the package that reads them."""


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
        RequestError: no images, an empty class, a class that only the test part has, folders that
            may be classes or parts, an unreadable or moving image, mixed sizes without
            ``image_size``, a loop of links.
    """
    train, test, notes = trees(root, request.reading)
    both = [tree for tree in (train, test) if tree is not None]
    return request.open(
        request.fingerprint(file for tree in both for file in tree.files),
        train.classes,
        train.part,
        None if test is None else test.part,
        notes=(
            *notes,
            *(passed_over(tree.passed_over) for tree in both if tree.passed_over),
        ),
        channels=channels,
    )


def trees(root: Path, reading: Reading) -> tuple[Tree, Tree | None, tuple[str, ...]]:
    """The training tree, the test tree (None where there is none), and notes on what is unused."""
    folders = {path.name: path for path in _entries(root) if path.is_dir()}
    asked = [name for name in (reading.train_part, reading.test_part) if name is not None]
    named = _parts(folders)
    if reading.train_part == WHOLE:
        return scan(root), None, ()
    if not (named or asked):
        _refuse_two_readings(root, list(folders.values()))
        return scan(root), None, ()
    chosen = choose_parts(list(folders) if asked else named, reading, str(root))
    if chosen.train is None:
        raise no_training_part(str(root), named)
    learned = scan(folders[chosen.train])
    notes, tested = [], None
    for name in chosen.tests:
        if tested is not None:
            notes.append(f"the part {name} is not used")
        elif _is_flat(folders[name]):
            notes.append(hidden_note(name, None))
        else:
            tested = scan(folders[name], like=learned.classes)
    unused = [name for name in folders if name not in (chosen.train, *chosen.tests)]
    if unused:
        notes.append(f"passed over the folders {', '.join(unused[:3])}, which are no parts")
    return learned, tested, tuple(notes)


def tree_to_test(root: Path) -> Tree:
    """The test part of a folder, its training part if it has no other, or else the whole folder."""
    folders = {path.name: path for path in _entries(root) if path.is_dir()}
    named = _parts(folders)
    if not named:
        return scan(root)
    chosen = choose_parts(named, Reading(), str(root))
    tests = [name for name in chosen.tests if not _is_flat(folders[name])]
    return scan(folders[next(iter(tests), chosen.train or named[0])])


def holds_class_folders(root: Path) -> bool:
    """Whether some sub-folder of ``root`` holds an image, at any depth."""
    return any(_has_image(path) for path in _entries(root) if path.is_dir())


def scan(root: Path, *, like: tuple[str, ...] | None = None) -> Tree:
    """The classes (sub-folders, sorted) and image files below ``root``; links are followed.

    ``like`` are the classes of the training part: one of them may be missing or empty, and no
    other may be there.

    Raises:
        RequestError: no class folders, images beside them, an empty class, two names that are one
            after Unicode normalisation, a class that ``like`` lacks, or a link that leads back
            into a folder above it.
    """
    children = _entries(root)
    folders = [path for path in children if path.is_dir()]
    loose = [path for path in children if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not folders or loose:
        found = f"{len(loose)} images in {root} itself" if loose else "none"
        raise RequestError(
            f"{root} needs one folder per class with its images inside (DIR/CLASS/image.png), or a "
            f"CSV file with a column of file names and one of labels, got {found}"
        )
    names = _distinct(root, folders)
    walks = [_walk(folder, root, empty=like is not None) for folder in folders]
    classes = tuple(names) if like is None else like
    filled = [name for name, walk in zip(names, walks, strict=True) if walk.files]
    _refuse_other_classes(root, filled, classes)
    index = {name: number for number, name in enumerate(classes)}
    over = [path for path in children if not path.is_dir()]
    numbers = [index.get(name, -1) for name in names]
    return Tree(
        classes,
        tuple(file for walk in walks for file in walk.files),
        np.repeat(np.asarray(numbers, dtype=np.int64), [len(walk.files) for walk in walks]),
        tuple(over + [path for walk in walks for path in walk.passed_over]),
    )


def find_images(root: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """All image files below ``root``, whatever folders they lie in, and what was passed over.

    A link that leads to no file is among them: whoever reads it says so.

    Raises:
        RequestError: a folder that cannot be read, or a loop of links.
    """
    walk = _Walk()
    _descend(root, walk, above=(), strict=False)
    return tuple(walk.files), tuple(walk.passed_over)


def passed_over(paths: Iterable[Path]) -> str:
    """The note on files that are no images."""
    names = [readable(path.name) for path in paths]
    more = ", ..." if len(names) > 3 else ""
    return f"passed over {len(names)} files that are no images ({', '.join(names[:3])}{more})"


def _parts(folders: Mapping[str, Path]) -> list[str]:
    """The folders with names of parts; none where they all hold images themselves, as classes do.

    A vehicle's class may be called ``train``, and its folder then holds its images.
    """
    named = [name for name in folders if part_of(name)]
    return named if any(not _is_flat(folders[name]) for name in named) else []


def _is_flat(folder: Path) -> bool:
    entries = _entries(folder)
    images = any(path.suffix.lower() in SUFFIXES for path in entries)
    return images and not any(path.is_dir() for path in entries)


def _has_image(folder: Path, depth: int = 4) -> bool:
    entries = _entries(folder)
    if any(path.suffix.lower() in SUFFIXES for path in entries):
        return True
    return depth > 0 and any(_has_image(path, depth - 1) for path in entries if path.is_dir())


def _refuse_two_readings(root: Path, folders: Sequence[Path]) -> None:
    inside = [{path.name for path in _entries(folder) if path.is_dir()} for folder in folders]
    images = any(path.suffix.lower() in SUFFIXES for folder in folders for path in _entries(folder))
    if len(folders) < 2 or len(inside[0]) < 2 or images or any(one != inside[0] for one in inside):
        return
    outer = ", ".join(readable(folder.name) for folder in folders[:3])
    inner = ", ".join(map(readable, sorted(inside[0])[:3]))
    raise RequestError(
        f"{root} can be read in two ways: its folders {outer} all hold the folders {inner}. If "
        f"{outer} are parts, name them: --train-part {folders[0].name} --test-part "
        f"{folders[1].name}; if they are the classes, say --train-part {WHOLE}"
    )


def _refuse_other_classes(root: Path, names: Sequence[str], known: Sequence[str]) -> None:
    strange = [name for name in names if name not in known]
    if strange:
        raise RequestError(
            f"{root} needs the class folders of the training part ({', '.join(known[:3])}"
            f"{', ...' if len(known) > 3 else ''}), got {', '.join(strange[:3])}"
            f"{', ...' if len(strange) > 3 else ''}"
        )


def _walk(folder: Path, root: Path, *, empty: bool) -> _Walk:
    walk = _Walk()
    _descend(folder, walk, above=(_identity(root),))
    if not walk.files and not empty:
        raise RequestError(f"class folder {folder} needs images, got {_instead(walk.passed_over)}")
    return walk


def _instead(files: Sequence[Path]) -> str:
    """What lies in a class folder without images, and what to do about it."""
    suffixes = Counter(path.suffix.lower() for path in files)
    if not suffixes:
        return "none; remove the folder"
    suffix, number = suffixes.most_common(1)[0]
    if suffix not in OTHER_PICTURES:
        return f"only {len(files)} other files ({files[0].name}); remove the folder"
    return (
        f"only {number} of {suffix}, which are not read here; convert them to JPEG or PNG "
        f"({OTHER_PICTURES[suffix]} reads them)"
    )


def _descend(
    folder: Path, walk: _Walk, above: tuple[tuple[int, int], ...], *, strict: bool = True
) -> None:
    here = _identity(folder)
    if here in above:
        raise RequestError(f"{folder} is a link back into a folder above it; remove the loop")
    for path in _entries(folder):
        if path.is_dir():
            _descend(path, walk, (*above, here), strict=strict)
        elif path.suffix.lower() not in SUFFIXES:
            walk.passed_over.append(path)
        elif path.is_file() or (path.is_symlink() and not strict):
            walk.files.append(path)
        elif path.is_symlink():
            raise RequestError(f"{path} is a link that leads to no file; repair or remove it")
        else:  # a pipe or a device: opening it might wait for ever
            walk.passed_over.append(path)


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder and is meant, sorted."""
    try:
        return sorted(path for path in folder.iterdir() if not is_left_over(path.name))
    except OSError as error:
        raise RequestError(f"folder {folder} cannot be read ({error.strerror})") from error


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _distinct(root: Path, folders: Iterable[Path]) -> list[str]:
    """The class names: the folders' own, in one Unicode form."""
    names: list[str] = []
    for folder in folders:
        plain = unicodedata.normalize("NFC", readable(folder.name))
        if plain in names:
            raise RequestError(f"{root} needs class names that differ, got {plain!r} twice")
        names.append(plain)
    return names

"""Published sets of photographs, each in its own tree of files or in parquet.

Tiny ImageNet (Le & Yang 2015): ``wnids.txt`` (200 ids), ``words.txt`` (id and names),
``train/ID/images/*.JPEG`` and ``val/images/*.JPEG`` with ``val/val_annotations.txt`` (file name,
id, box). Its validation part is the test set, as in papers.
CUB-200-2011 (Wah et al. 2011): ``images.txt`` (number, path), ``image_class_labels.txt`` (number,
class from 1), ``train_test_split.txt`` (number, 1 for training), ``classes.txt`` (class, name).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..._errors import RequestError
from ..cache import LoadedData
from ..dataset import Labels
from ..encoded import EncodedPart, Files
from .files import read_lines
from .folder import load_folder
from .request import DataRequest
from .tables import find_parquet, load_parquet


def load_imagenet(request: DataRequest) -> LoadedData:
    """ImageNet as a folder: ``train/ID/*.JPEG`` and ``val/ID/*.JPEG``."""
    return load_folder(request.root("train/ID/*.JPEG, val/ID/*.JPEG"), request, channels=3)


def load_cifar10_jpeg(request: DataRequest) -> LoadedData:
    """The JPEG copy of CIFAR-10 in parquet: ``cifar10_jpeg/train-….parquet`` and ``test-…``."""
    files = find_parquet(request.root("parquet files"))
    files = files or find_parquet(request.find(("cifar10_jpeg",), ()))
    if not files:
        raise RequestError(
            f"data {request.name!r} needs parquet files in {request.data_dir} or in its "
            "cifar10_jpeg, and found none; check --data-dir"
        )
    note = "a lossy copy (JPEG quality 75): accuracies are lower than on the original CIFAR-10"
    return load_parquet(files, request, channels=3, notes=(note,))


TINY_IMAGENET = "tiny-imagenet-200"
TINY_IMAGENET_TABLES = "tiny_imagenet"


def load_tiny_imagenet(request: DataRequest) -> LoadedData:
    """100,000 training and 10,000 test images of 64 × 64 in 200 classes.

    Raises:
        RequestError: neither the official tree nor parquet files, or files missing from the tree.
    """
    root = request.root(TINY_IMAGENET)
    for folder in (root, root / TINY_IMAGENET):
        if (folder / "wnids.txt").is_file():
            return _open_tiny_imagenet(folder, request)
    for folder in (root, root / TINY_IMAGENET_TABLES):
        files = find_parquet(folder)
        if files:
            return load_parquet(files, request, channels=3)
    raise RequestError(
        f"data {request.name!r} needs the unpacked folder {TINY_IMAGENET} or parquet files "
        f"(train-…, validation-…) in {root} or in its {TINY_IMAGENET_TABLES}, and found neither; "
        "check --data-dir"
    )


def _open_tiny_imagenet(root: Path, request: DataRequest) -> LoadedData:
    ids = sorted(" ".join(read_lines(root / "wnids.txt")).split())
    words = _tiny_words(root / "words.txt")
    index = {name: number for number, name in enumerate(ids)}
    train = _tiny_train(root, ids)
    test = _tiny_test(root / "val", index)
    names = tuple(f"{name}: {words[name]}" if name in words else name for name in ids)
    files = [*train.items.paths, *test.items.paths]  # type: ignore[attr-defined]
    return request.open(request.fingerprint(files), names, train, test, channels=3)


def _tiny_train(root: Path, ids: list[str]) -> EncodedPart:
    paths, labels = [], []
    for label, name in enumerate(ids):
        found = sorted((root / "train" / name / "images").glob("*.JPEG"))
        if not found:
            raise RequestError(f"{root / 'train' / name / 'images'} needs JPEG files, got none")
        paths += found
        labels += [label] * len(found)
    return EncodedPart(Files(paths), np.asarray(labels, dtype=np.int64))


def _tiny_test(root: Path, index: dict[str, int]) -> EncodedPart:
    paths, labels = [], []
    annotations = root / "val_annotations.txt"
    for line in read_lines(annotations):
        name, wnid = (line.split("\t") + ["", ""])[:2]
        if wnid not in index or Path(name).name != name:
            raise RequestError(f"{annotations} needs lines of a file name and an id, got {line!r}")
        paths.append(root / "images" / name)
        labels.append(index[wnid])
        if not paths[-1].is_file():
            raise RequestError(f"{annotations} names {paths[-1]}, and it is missing")
    return EncodedPart(Files(paths), np.asarray(labels, dtype=np.int64))


def _tiny_words(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = (line.partition("\t") for line in read_lines(path))
    return {name: words.strip() for name, _, words in lines}


CUB = "CUB_200_2011"


def load_cub(request: DataRequest) -> LoadedData:
    """5,994 training and 5,794 test photographs, brought to one size.

    Raises:
        RequestError: missing lists, lists that disagree, or a path that leads out of the folder.
    """
    root = request.find((f"{CUB}/images.txt", "images.txt"), ()).parent
    paths = _column(root / "images.txt")
    labels = _column(root / "image_class_labels.txt")
    training = _column(root / "train_test_split.txt")
    names = _column(root / "classes.txt")
    if not paths.keys() == labels.keys() == training.keys():
        raise RequestError(f"the lists in {root} need the same image numbers; download it again")
    files = [_inside(root / "images", paths[number]) for number in paths]
    index = {number: place for place, number in enumerate(names)}
    targets = np.asarray(
        [_class_index(index, labels[number], root) for number in paths], dtype=np.int64
    )
    chosen = np.asarray([training[number] == "1" for number in paths])
    train, test = (_cub_part(files, targets, np.flatnonzero(which)) for which in (chosen, ~chosen))
    classes = tuple(names.values())
    return request.open(request.fingerprint(files), classes, train, test, channels=3)


def _cub_part(files: list[Path], labels: Labels, places: Labels) -> EncodedPart:
    return EncodedPart(Files([files[place] for place in places]), labels[places])


def _column(path: Path) -> dict[str, str]:
    lines = (line.split(maxsplit=1) for line in read_lines(path))
    return {line[0]: line[1].strip() for line in lines if len(line) == 2}


def _inside(root: Path, name: str) -> Path:
    path = root / name
    try:
        inside = path.resolve().is_relative_to(root.resolve()) and path.is_file()
    except (OSError, ValueError):  # no name that a file can have
        inside = False
    if not inside:
        raise RequestError(f"images.txt needs names of files inside {root}, got {name!r}")
    return path


def _class_index(index: dict[str, int], label: str, root: Path) -> int:
    if label not in index:
        raise RequestError(f"{root} needs class numbers out of classes.txt, got {label!r}")
    return index[label]

"""Tiny ImageNet: the official tree, or parquet. Its validation part is the test set, as in papers.

``wnids.txt`` (200 ids), ``words.txt`` (id and names), ``train/ID/images/*.JPEG`` and
``val/images/*.JPEG`` with ``val/val_annotations.txt`` (file name, id, box).

Source: Le & Yang 2015, from ImageNet.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..._errors import RequestError
from ..cache import Entry
from ..encoded import Files, Part, Source
from .lists import read_lines
from .request import Request
from .tables import find_parquet, load_parquet

FOLDER = "tiny-imagenet-200"
TABLES = "tiny_imagenet"


def load_tiny_imagenet(request: Request) -> Entry:
    """100,000 training and 10,000 test images of 64 × 64 in 200 classes.

    Raises:
        RequestError: neither the official tree nor parquet files, or files missing from the tree.
    """
    root = request.root(FOLDER)
    for folder in (root, root / FOLDER):
        if (folder / "wnids.txt").is_file():
            return _tree(folder, request)
    for folder in (root, root / TABLES):
        files = find_parquet(folder)
        if files:
            return load_parquet(files, request, channels=3)
    raise RequestError(
        f"data {request.name!r} needs the unpacked folder {FOLDER} or parquet files (train-…, "
        f"validation-…) in {root} or in its {TABLES}, and found neither; check --data-dir"
    )


def _tree(root: Path, request: Request) -> Entry:
    ids = sorted(" ".join(read_lines(root / "wnids.txt")).split())
    words = _words(root / "words.txt")
    index = {name: number for number, name in enumerate(ids)}
    train = _train(root, ids)
    test = _test(root / "val", index)
    names = tuple(f"{name}: {words[name]}" if name in words else name for name in ids)
    files = [*train.items.paths, *test.items.paths]  # type: ignore[attr-defined]
    size = request.image_size
    return request.open(
        Source(
            request.name,
            request.fingerprint(files),
            names,
            train,
            test,
            (),
            size,
            3,
            request.native,
        )
    )


def _train(root: Path, ids: list[str]) -> Part:
    paths, labels = [], []
    for label, name in enumerate(ids):
        found = sorted((root / "train" / name / "images").glob("*.JPEG"))
        if not found:
            raise RequestError(f"{root / 'train' / name / 'images'} needs JPEG files, got none")
        paths += found
        labels += [label] * len(found)
    return Part(Files(paths), np.asarray(labels, dtype=np.int64))


def _test(root: Path, index: dict[str, int]) -> Part:
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
    return Part(Files(paths), np.asarray(labels, dtype=np.int64))


def _words(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = (line.partition("\t") for line in read_lines(path))
    return {name: words.strip() for name, _, words in lines}

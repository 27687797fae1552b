"""The papers' data sets in their own file formats, made as small as runs can be."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from making import (
    encoded,
    idx_bytes,
    noise,
    put_birds,
    put_image,
    put_svhn,
    put_tiny_imagenet,
    stl10_files,
    write_members,
)

EACH, CLASSES = 2, 10
"""Training images of a class: one is left to train on beside the one for validation."""


def everything(folder: Path) -> Path:
    """A folder with every data set that a recipe of the papers names, but for the digits."""
    birds(mnist(folder, training=200, test=40))
    cifar(folder)
    cifar_jpeg(folder)
    svhn(folder)
    stl10(folder)
    put_tiny_imagenet(folder, ["n01", "n02", "n03"])
    imagenet(folder)
    return folder


def mnist(folder: Path, training: int = 4_096, test: int = 60) -> Path:
    """The four idx files: noise, brighter by class, so that something can be learned."""
    folder.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(0)
    for part, number in (("train", training), ("t10k", test)):
        labels = (np.arange(number) % 10).astype(np.uint8)
        images = draws.integers(0, 100, (number, 28, 28)) + 12 * labels[:, None, None]
        for kind, array in (("images-idx3", images.astype(np.uint8)), ("labels-idx1", labels)):
            path = folder / f"{part}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(idx_bytes(array), 1))
    return folder


def cifar(folder: Path) -> Path:
    """CIFAR-10, CIFAR-100 and CIFAR-10.1 as published."""
    ten, hundred = folder / "cifar-10-batches-py", folder / "cifar-100-python"
    names = b"airplane automobile bird cat deer dog frog horse ship truck".split()
    for number in range(1, 6):
        _batch(ten / f"data_batch_{number}", [2 * number - 2, 2 * number - 1] * EACH, "labels")
    _batch(ten / "test_batch", _labels(1), "labels")
    _pickled(ten / "batches.meta", {"label_names": names})
    _batch(hundred / "train", _labels(), "fine_labels")
    _batch(hundred / "test", _labels(1), "fine_labels")
    fine = [f"class {number}".encode() for number in range(CLASSES)]
    _pickled(hundred / "meta", {"fine_label_names": fine})
    np.save(folder / "cifar10.1_v6_data.npy", noise(CLASSES, 32, 32, 3))
    np.save(folder / "cifar10.1_v6_labels.npy", np.arange(CLASSES))
    return folder


def _batch(path: Path, labels: Sequence[int], key: str) -> None:
    _pickled(path, {"data": noise(len(labels), 3072, seed=labels[0]), key: list(labels)})


def _pickled(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


def cifar_jpeg(folder: Path) -> Path:
    """The JPEG copy of CIFAR-10 in parquet."""
    root = folder / "cifar10_jpeg"
    root.mkdir(parents=True, exist_ok=True)
    for part, labels in (("train", _labels()), ("test", _labels(1))):
        pixels = noise(len(labels), 32, 32, 3, seed=len(labels))
        images = [{"bytes": encoded(one, "JPEG"), "path": None} for one in pixels]
        pq.write_table(pa.table({"image": images, "label": labels}), root / f"{part}-0.parquet")
    return folder


def svhn(folder: Path) -> Path:
    """SVHN with its extra part, in MATLAB files."""
    for part, labels in (("train", _labels()), ("extra", _labels()), ("test", _labels(1))):
        put_svhn(folder, part, [label or 10 for label in labels])
    return folder


def stl10(folder: Path) -> Path:
    """STL-10 in its binary format: its images are large, so only two classes have any."""
    write_members(folder / "stl10_binary", stl10_files([1, 1, 2], [1, 2]))
    return folder


def birds(folder: Path) -> Path:
    """CUB-200-2011: two classes, of each a small photograph for training and one for the test."""
    put_birds(folder, [(f"00{1 + n % 2}.Bird/{n}.png", 1 + n % 2, n < 2) for n in range(4)])
    return folder


def imagenet(folder: Path) -> Path:
    """ImageNet's tree of two classes."""
    for part, number in (("train", 2), ("val", 1)):
        for name in ("n01", "n02"):
            for image in range(number):
                pixels = noise(40, 50, 3, seed=image)
                put_image(folder / part / name / f"{name}_{image}.JPEG", pixels)
    return folder


def _labels(each: int = EACH) -> list[int]:
    return list(range(CLASSES)) * each

"""Small made data in the papers' own file formats, for recipes that are only tried."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
from PIL import Image


def mnist(folder: Path, training: int = 4_096, test: int = 60) -> Path:
    """The four idx files: noise, brighter by class, so that something can be learned."""
    folder.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(0)
    for part, number in (("train", training), ("t10k", test)):
        labels = (np.arange(number) % 10).astype(np.uint8)
        images = draws.integers(0, 100, (number, 28, 28)) + 12 * labels[:, None, None]
        for kind, array in (("images-idx3", images.astype(np.uint8)), ("labels-idx1", labels)):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            path = folder / f"{part}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(head + array.tobytes(), 1))
    return folder


def cifar(folder: Path) -> Path:
    """CIFAR-10, CIFAR-100 and CIFAR-10.1 as published, 40 images of noise each."""
    names = b"airplane automobile bird cat deer dog frog horse ship truck".split()
    _batches(folder / "cifar-10-batches-py", [f"data_batch_{n}" for n in range(1, 6)], "labels", 10)
    _pickled(folder / "cifar-10-batches-py" / "batches.meta", {"label_names": names})
    _batches(folder / "cifar-100-python", ["train"], "fine_labels", 100)
    fine = [f"class {number}".encode() for number in range(100)]
    _pickled(folder / "cifar-100-python" / "meta", {"fine_label_names": fine})
    draws = np.random.default_rng(1)
    pixels = draws.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    np.save(folder / "cifar10.1_v6_data.npy", pixels)
    np.save(folder / "cifar10.1_v6_labels.npy", np.arange(20) % 10)
    return folder


def _batches(folder: Path, training: list[str], labels: str, classes: int) -> None:
    test = "test_batch" if len(training) > 1 else "test"
    number = 40 if classes == 10 else 200
    for seed, name in enumerate([*training, test]):
        draws = np.random.default_rng(seed)
        rows = draws.integers(0, 256, (number, 3072), dtype=np.uint8)
        _pickled(folder / name, {"data": rows, labels: [n % classes for n in range(number)]})


def _pickled(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


def birds(folder: Path) -> Path:
    """CUB-200-2011 as published, eight small photographs of noise in two classes."""
    root = folder / "CUB_200_2011"
    names = [f"00{1 + n % 2}.Bird/{n}.png" for n in range(8)]
    draws = np.random.default_rng(0)
    for name in names:
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    lists = {
        "images.txt": [f"{n + 1} {name}" for n, name in enumerate(names)],
        "image_class_labels.txt": [f"{n + 1} {1 + n % 2}" for n in range(8)],
        "train_test_split.txt": [f"{n + 1} {int(n < 6)}" for n in range(8)],
        "classes.txt": ["1 001.Bird", "2 002.Bird"],
    }
    for name, lines in lists.items():
        (root / name).write_text("\n".join(lines) + "\n")
    return folder

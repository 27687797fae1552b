"""Small files in the formats of the publishers, made byte by byte where that matters."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from scipy.io import savemat

STL10_NAMES = "airplane bird car cat deer dog horse monkey ship truck"


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """An image file of pixels (H, W) or (H, W, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def put_image(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(pixels, "JPEG" if path.suffix.upper() == ".JPEG" else "PNG"))
    return path


def python2_pickle(value: Any) -> bytes:
    """``cPickle.dumps(value, 2)`` as Python 2 and its numpy wrote it: byte strings, no memo."""
    return b"\x80\x02" + _python2(value) + b"."


def _python2(value: Any) -> bytes:
    if isinstance(value, np.ndarray):
        raw = value.tobytes()
        dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        dtype += b"J\xff\xff\xff\xffK\x00tb"
        shape = b"(" + b"".join(_python2(int(size)) for size in value.shape) + b"t"
        start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        return start + b"(K\x01" + shape + dtype + b"\x89" + _python2(raw) + b"tb"
    if isinstance(value, bytes):
        if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        return b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"](" + b"".join(map(_python2, value)) + b"e"
    assert isinstance(value, dict)
    items = b"".join(_python2(key) + _python2(item) for key, item in value.items())
    return b"}(" + items + b"u"


def write_tar(path: Path, members: Mapping[str, bytes], mode: Literal["w", "w:gz"] = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_members(folder: Path, members: Mapping[str, bytes]) -> Path:
    for name, content in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def stl10_files(train: Sequence[int], test: Sequence[int]) -> dict[str, bytes]:
    """The members of ``stl10_binary`` for labels 1..10: noise, stored column by column."""
    made = {"class_names.txt": "\n".join(STL10_NAMES.split()).encode()}
    for part, labels in (("train", train), ("test", test)):
        made[f"{part}_X.bin"] = noise(len(labels), 3, 96, 96, seed=len(labels)).tobytes()
        made[f"{part}_y.bin"] = bytes(labels)
    return made


def put_svhn(folder: Path, part: str, labels: Sequence[int]) -> np.ndarray:
    """SVHN's MATLAB file of a part for labels 1..10, of which 10 is the digit 0."""
    images = noise(32, 32, 3, len(labels), seed=len(labels))
    targets = np.array(labels, dtype=np.uint8)[:, None]
    savemat(folder / f"{part}_32x32.mat", {"X": images, "y": targets}, do_compression=True)
    return images


def put_tiny_imagenet(folder: Path, ids: Sequence[str]) -> Path:
    """The official tree: two training images of every class, and one grey test image."""
    tree = folder / "tiny-imagenet-200"
    lines = []
    for number, name in enumerate(ids):
        for image in range(2):
            pixels = noise(64, 64, 3, seed=10 * number + image)
            put_image(tree / "train" / name / "images" / f"{name}_{image}.JPEG", pixels)
        put_image(tree / "val" / "images" / f"val_{number}.JPEG", noise(64, 64, seed=number))
        lines.append(f"val_{number}.JPEG\t{name}\t0\t0\t63\t63")
    (tree / "wnids.txt").write_text("\n".join(ids) + "\n")
    (tree / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    return tree


def put_birds(folder: Path, images: Sequence[tuple[str, int, bool]]) -> Path:
    """CUB-200-2011: (name below ``images``, class 1 or 2, whether for training) of each picture."""
    root = folder / "CUB_200_2011"
    for number, (name, _, _) in enumerate(images):
        put_image(root / "images" / name, noise(30 + number, 40, 3, seed=number))
    lists = {
        "images.txt": [name for name, _, _ in images],
        "image_class_labels.txt": [label for _, label, _ in images],
        "train_test_split.txt": [int(train) for _, _, train in images],
        "classes.txt": ["001.Albatross", "002.Auklet"],
    }
    for name, values in lists.items():
        lines = [f"{number + 1} {value}" for number, value in enumerate(values)]
        (root / name).write_text("\n".join(lines) + "\n")
    return root

"""Files that were damaged anywhere are read, or refused in one sentence; nothing else comes out."""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import encoded, idx_bytes, noise, put_image, python2_pickle, write_members, write_tar
from scipy.io import savemat

from fixhead._errors import RequestError
from fixhead.data import load
from fixhead.data.images import decode, read_header
from fixhead.data.sources.arrays import read_npy

Damage = tuple[str, float, int]
DAMAGES = st.tuples(
    st.sampled_from(["cut", "set", "insert"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 255),
)
FEW = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def damaged(content: bytes, damages: list[Damage]) -> bytes:
    """Cut off, one byte set, or one put between, at a share of the length."""
    for how, share, value in damages:
        place = int(share * len(content))
        keep = {"cut": len(content), "set": place + 1, "insert": place}[how]
        middle = b"" if how == "cut" else bytes([value])
        content = content[:place] + middle + content[keep:]
    return content


def read_or_refused(work: Callable[[], object]) -> None:
    """Warnings are the libraries' own about broken files, and not what is asked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(RequestError):
            work()


def use(name: str, **options: object) -> None:
    data = load(name, **options)
    for split in (data.train, data.test):
        np.asarray(split.images[:])


def cifar(folder: Path, *, packed: bool) -> list[Path]:
    batch = python2_pickle({b"data": noise(2, 3072), b"labels": [0, 1]})
    names = python2_pickle({b"label_names": [b"class %d" % n for n in range(10)]})
    members = {f"data_batch_{n}": batch for n in range(1, 6)}
    members |= {"test_batch": batch, "batches.meta": names}
    inside = {f"cifar-10-batches-py/{name}": content for name, content in members.items()}
    if packed:
        return [write_tar(folder / "cifar-10-python.tar.gz", inside, "w:gz")]
    write_members(folder, inside)
    return [folder / "cifar-10-batches-py" / name for name in ("data_batch_3", "batches.meta")]


def mnist(folder: Path, *, packed: bool) -> list[Path]:
    for part in ("train", "t10k"):
        arrays = {"images-idx3": noise(4, 28, 28), "labels-idx1": np.arange(4, dtype=np.uint8)}
        for name, array in arrays.items():
            content = idx_bytes(array)
            path = folder / f"{part}-{name}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)
    return sorted(folder.iterdir())


def svhn(folder: Path, *, packed: bool) -> list[Path]:
    labels = np.array([[1], [10], [2], [3]], dtype=np.uint8)
    for part in ("train", "test"):
        content = {"X": noise(32, 32, 3, 4), "y": labels}
        savemat(folder / f"{part}_32x32.mat", content, do_compression=packed)
    return [folder / "train_32x32.mat"]


def stl10(folder: Path, *, packed: bool) -> list[Path]:
    names = "\n".join(f"class{n}" for n in range(10)).encode()
    members = {"class_names.txt": names}
    for part in ("train", "test"):
        members |= {f"{part}_X.bin": noise(2, 27648).tobytes(), f"{part}_y.bin": bytes([1, 2])}
    inside = {f"stl10_binary/{name}": content for name, content in members.items()}
    if packed:
        return [write_tar(folder / "stl10_binary.tar.gz", inside, "w:gz")]
    write_members(folder, inside)
    return sorted((folder / "stl10_binary").iterdir())


def parquet(folder: Path, *, packed: bool) -> list[Path]:
    cells = [{"bytes": encoded(noise(8, 8, 3, seed=n)), "path": f"{n}.png"} for n in range(12)]
    table = pa.table({"image": cells, "label": [n % 2 for n in range(12)]})
    path = folder / "train-0.parquet"
    pq.write_table(table, path, compression="ZSTD" if packed else "NONE", row_group_size=5)
    return [path]


def features(folder: Path, *, packed: bool) -> list[Path]:
    arrays = {"features": noise(20, 4).astype(np.float32), "labels": np.arange(20) % 2}
    (np.savez_compressed if packed else np.savez)(folder / "x.npz", **arrays)
    return [folder / "x.npz"]


def shards(folder: Path, *, packed: bool) -> list[Path]:
    members = {}
    for n in range(6):
        members |= {f"{n}.png": encoded(noise(8, 8, 3, seed=n)), f"{n}.cls": b"%d" % (n % 2)}
    return [write_tar(folder / "train-0.tar", members, "w:gz" if packed else "w")]


def birds(folder: Path, *, packed: bool) -> list[Path]:
    root = folder / "CUB_200_2011"
    numbers = range(1, 7)
    for n in numbers:
        put_image(root / "images" / f"{n}.png", noise(8, 8, 3, seed=n))
    lists = {
        "images.txt": [f"{n} {n}.png" for n in numbers],
        "image_class_labels.txt": [f"{n} {1 + n % 2}" for n in numbers],
        "train_test_split.txt": [f"{n} {int(n < 4)}" for n in numbers],
        "classes.txt": ["1 auk", "2 wren"],
    }
    return [_written(root / pair[0], pair[1]) for pair in lists.items()]


def tiny(folder: Path, *, packed: bool) -> list[Path]:
    root = folder / "tiny-imagenet-200"
    for name in ("n1", "n2"):
        put_image(root / "train" / name / "images" / "0.JPEG", noise(64, 64, 3))
        put_image(root / "val" / "images" / f"{name}.JPEG", noise(64, 64, 3))
    lines = [f"{name}.JPEG\t{name}\t0\t0\t1\t1" for name in ("n1", "n2")]
    lists = {
        "val/val_annotations.txt": lines,
        "wnids.txt": ["n1", "n2"],
        "words.txt": ["n1\tcat", "n2\tdog"],
    }
    return [_written(root / name, lines) for name, lines in lists.items()]


def _written(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


LOADS: dict[Callable[..., list[Path]], Callable[[Path], None]] = {
    cifar: lambda folder: use("cifar10", data_dir=folder),
    mnist: lambda folder: use("mnist", data_dir=folder),
    svhn: lambda folder: use("svhn", data_dir=folder),
    stl10: lambda folder: use("stl10", data_dir=folder),
    parquet: lambda folder: use(str(folder)),
    features: lambda folder: use(str(folder / "x.npz")),
    shards: lambda folder: use(str(folder), image_size=8),
    birds: lambda folder: use("cub200", data_dir=folder, image_size=8),
    tiny: lambda folder: use("tiny-imagenet", data_dir=folder),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("make", LOADS, ids=lambda make: make.__name__)
def test_a_damaged_file_is_read_or_refused(
    tmp_path: Path, make: Callable[..., list[Path]], packed: bool
) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    files = [path.relative_to(whole) for path in make(whole, packed=packed)]
    if not (make is shards and packed):  # which is refused as it is
        LOADS[make](whole)

    @FEW
    @given(st.sampled_from(files), st.lists(DAMAGES, min_size=1, max_size=3))
    def attempt(file: Path, damages: list[Damage]) -> None:
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        (folder / file).write_bytes(damaged((whole / file).read_bytes(), damages))
        read_or_refused(lambda: LOADS[make](folder))

    attempt()


@functools.cache
def picture(kind: str) -> bytes:
    options = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    return encoded(noise(16, 16, 3), kind, **options)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "TGA"])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(damages=st.lists(DAMAGES, min_size=1, max_size=3))
def test_a_damaged_picture_is_decoded_or_refused(kind: str, damages: list[Damage]) -> None:
    content = damaged(picture(kind), damages)
    read_or_refused(lambda: read_header(content, "x"))
    read_or_refused(lambda: decode(content, "x", channels=3))


@FEW
@given(damages=st.lists(DAMAGES, min_size=1, max_size=3), mapped=st.booleans())
def test_a_damaged_array_is_read_or_refused(
    tmp_path: Path, damages: list[Damage], mapped: bool
) -> None:
    buffer = io.BytesIO()
    np.save(buffer, noise(4, 4))
    (tmp_path / "x.npy").write_bytes(damaged(buffer.getvalue(), damages))
    read_or_refused(lambda: read_npy(tmp_path / "x.npy", mapped=mapped))

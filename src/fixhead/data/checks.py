"""What a person wants to know about a data set before training on it: list, check, prepare.

A check counts the images, compares the two parts pixel by pixel, and verifies checksums: the
publishers' (MD5, as torchvision states them for the files that it downloads; for MNIST also of the
unpacked files, because copies are often packed again), and those that lie beside the files in
``SHA256SUMS``.
"""

from __future__ import annotations

import gzip
import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .catalogue import DATASETS, open_request
from .dataset import Dataset, Split, chunks
from .encoded import Progress
from .near_duplicates import near_duplicates
from .reading import Reading
from .sources.request import DataRequest
from .sources.small_sets import GZIP_MAGIC
from .splits import LongTail, parse_long_tail, settled

SUMS = "SHA256SUMS"

MD5: dict[str, dict[str, tuple[str, ...]]] = {
    "mnist": {
        "train-images-idx3-ubyte": (
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "6bbc9ace898e44ae57da46a324031adb",
        ),
        "train-labels-idx1-ubyte": (
            "d53e105ee54ea40749a09fcbcd1e9432",
            "a25bea736e30d166cdddb491f175f624",
        ),
        "t10k-images-idx3-ubyte": (
            "9fb629c4189551a2d022fa330f9573f3",
            "2646ac647ad5339dbf082846283269ea",
        ),
        "t10k-labels-idx1-ubyte": (
            "ec29112dd5afa0611ce80d1b7f02629c",
            "27ae3e4e09519cfbb04c329615203637",
        ),
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d",),
        "train-labels-idx1-ubyte": ("25c81989df183df01b3e8a0aad5dffbe",),
        "t10k-images-idx3-ubyte": ("bef4ecab320f06d8554ea6380940ec79",),
        "t10k-labels-idx1-ubyte": ("bb300cfdad3c16e7a12a480ee83cd310",),
    },
    "cifar10": {
        "cifar-10-python.tar.gz": ("c58f30108f718f92721af3b95e74349a",),
        "data_batch_1": ("c99cafc152244af753f735de768cd75f",),
        "data_batch_2": ("d4bba439e000b95fd0a9bffe97cbabec",),
        "data_batch_3": ("54ebc095f3ab1f0389bbae665268c751",),
        "data_batch_4": ("634d18415352ddfa80567beed471001a",),
        "data_batch_5": ("482c414d41f54cd18b22e5b47cb7c3cb",),
        "test_batch": ("40351d587109b95175f43aff81a1287e",),
        "batches.meta": ("5ff9c542aee3614f3951f8cda6e48888",),
    },
    "cifar100": {
        "cifar-100-python.tar.gz": ("eb9058c3a382ffc7106e4002c42a8d85",),
        "train": ("16019d7e3df5f24257cddd939b257f8d",),
        "test": ("f0ef6b0ae62326f3e7ffdfab6717acfc",),
        "meta": ("7973b15100ade9c7d40fb424638fde48",),
    },
    "stl10": {
        "stl10_binary.tar.gz": ("91f7769df0f17e558f3565bffb0c7dfb",),
        "train_X.bin": ("918c2871b30a85fa023e0c44e0bee87f",),
        "train_y.bin": ("5a34089d4802c674881badbb80307741",),
        "test_X.bin": ("7f263ba9f9e0b06b93213547f721ac82",),
        "test_y.bin": ("36f9794fa4beb8a2c72628de14fa638e",),
    },
    "svhn": {
        "train_32x32.mat": ("e26dedcc434d2e4c54c9b2d4a06d8373",),
        "test_32x32.mat": ("eb5a983be6a315427106f1b164d9cef3",),
        "extra_32x32.mat": ("a93ce644f1a588dc4d68dda5feec44a7",),
    },
}
MD5["svhn-extra"] = MD5["svhn"]


@dataclass(frozen=True)
class Listed:
    """One named data set, as ``fixhead data list`` shows it."""

    name: str
    title: str
    classes: int
    image_size: int
    needs: str


@dataclass(frozen=True)
class Counts:
    """One part of a data set: how many images, of how many classes, and of each class by name."""

    images: int
    classes: int
    per_class: dict[str, int]


@dataclass(frozen=True)
class Check:
    """What ``fixhead data check`` found.

    ``duplicates``: test images whose very pixels are also a training image; ``disagreeing`` of
    them have another label there. ``checksums``: "ok" or "differs" by path, for files that a sum
    is known of. ``imbalance``: the training part that a long tail would leave.
    ``near_duplicates``: test images (of 1,000) that look almost like a training image.
    ``unreadable``: a sentence for every image that cannot be decoded. ``classes``: K, empty ones
    included.
    """

    name: str
    title: str
    channels: int
    image_size: int
    splits: dict[str, Counts]
    duplicates: int
    disagreeing: int
    checksums: dict[str, str]
    notes: tuple[str, ...]
    imbalance: dict[str, Any] | None = None
    near_duplicates: int = 0
    unreadable: tuple[str, ...] = ()
    classes: int = 0

    @property
    def passed(self) -> bool:
        """Whether every known checksum agrees and every image can be decoded."""
        return "differs" not in self.checksums.values() and not self.unreadable

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"passed": self.passed}


@dataclass(frozen=True)
class Prepared:
    """What ``fixhead data prepare`` did; ``folder`` is None for sets that need no cache."""

    name: str
    images: int
    folder: str | None
    bytes: int
    seconds: float
    images_per_second: float
    notes: tuple[str, ...] = field(default=())


def list_datasets() -> tuple[Listed, ...]:
    """Every data set that has a name."""
    return tuple(
        Listed(name, named.title, named.classes, named.image_size, named.needs)
        for name, named in DATASETS.items()
    )


def check(
    name_or_path: str,
    *,
    data_dir: Path | None = None,
    image_size: int | None = None,
    imbalance: str | None = None,
    reading: Reading | None = None,
) -> Check:
    """Load a data set, count it, compare its parts pixel by pixel, and verify its checksums.

    Images that cannot be decoded are left out and listed, all of them.

    Raises:
        RequestError: it cannot be loaded, or the long tail cannot be met.
    """
    tail = None if imbalance is None else parse_long_tail(imbalance)
    reading = replace(reading or Reading(), skip_unreadable=True)
    request = DataRequest(name_or_path, data_dir, image_size=image_size, reading=reading)
    data = open_request(request)
    shared, disagreeing = duplicates(data)
    sizes = data.train.counts(len(data.classes))
    return Check(
        data.name,
        data.title,
        data.channels,
        data.image_size,
        {"train": _counts(data, data.train), "test": _counts(data, data.test)},
        shared,
        disagreeing,
        verify(data.name, request.used),
        data.notes,
        None if tail is None else _tail(data, settled(tail, data, sizes)),
        near_duplicates(data.train, data.test)[0],
        tuple(reason for found in data.skipped.values() for reason in found.values()),
        len(data.classes),
    )


def duplicates(data: Dataset) -> tuple[int, int]:
    """How many test images are also training images, and how many of those under another label."""
    known: dict[bytes, set[int]] = {}
    for digest, label in _image_digests(data.train):
        known.setdefault(digest, set()).add(label)
    shared = [
        (label, known[digest]) for digest, label in _image_digests(data.test) if digest in known
    ]
    return len(shared), sum(label not in labels for label, labels in shared)


def prepare(
    name_or_path: str,
    *,
    data_dir: Path | None = None,
    image_size: int | None = None,
    reading: Reading | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Decode a data set into the cache now, so that the first training run need not.

    Raises:
        RequestError: it cannot be loaded.
    """
    request = DataRequest(
        name_or_path,
        data_dir,
        image_size=image_size,
        reading=reading or Reading(),
        progress=progress,
    )
    start = time.perf_counter()
    data = open_request(request)
    seconds = time.perf_counter() - start
    images = len(data.train) + len(data.test)
    folder = _cache_folder(data)
    size = 0 if folder is None else sum(file.stat().st_size for file in folder.iterdir())
    place = None if folder is None else str(folder)
    return Prepared(data.name, images, place, size, seconds, images / seconds, data.notes)


def _counts(data: Dataset, split: Split) -> Counts:
    counts = split.counts(len(data.classes)).tolist()
    per_class = dict(zip(data.classes, counts, strict=True))
    return Counts(len(split), sum(count > 0 for count in counts), per_class)


def _tail(data: Dataset, tail: LongTail) -> dict[str, Any]:
    counts = tail.counts(data.train.counts(len(data.classes)))
    per_class = dict(zip(data.classes, counts.tolist(), strict=True))
    return {"rule": str(tail), "images": int(counts.sum()), "per_class": per_class}


def _image_digests(split: Split) -> Iterator[tuple[bytes, int]]:
    labels = iter(split.labels.tolist())
    for chunk in chunks(split.images):
        for image in np.ascontiguousarray(chunk):
            yield hashlib.blake2b(image.data, digest_size=16).digest(), next(labels)


def _cache_folder(data: Dataset) -> Path | None:
    images = data.train.images
    return Path(str(images.filename)).parent if isinstance(images, np.memmap) else None


def verify(name: str, files: Iterable[Path]) -> dict[str, str]:
    """``{path: "ok" | "differs"}`` for the files of set ``name`` that a sum is known of."""
    found = {}
    for file in files:
        published = MD5.get(name, {}).get(file.name.removesuffix(".gz"))
        published = published or MD5.get(name, {}).get(file.name)
        if published is not None:
            found[str(file)] = "ok" if _md5_sums(file) & set(published) else "differs"
            continue
        beside = _stated_sum(file)
        if beside is not None:
            found[str(file)] = "ok" if _sha256(file) == beside else "differs"
    return found


def _md5_sums(file: Path) -> set[str]:
    """Of the file as it is and, where it is gzipped, of what is inside."""
    with file.open("rb") as raw:
        zipped = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        sums = {_file_digest(raw, "md5")}
    if zipped and not file.name.endswith(".tar.gz"):
        with gzip.open(file) as unpacked:
            sums.add(_file_digest(unpacked, "md5"))  # type: ignore[arg-type]
    return sums


def _sha256(file: Path) -> str:
    with file.open("rb") as raw:
        return _file_digest(raw, "sha256")


def _file_digest(file: BinaryIO, kind: str) -> str:
    digest = hashlib.new(kind, usedforsecurity=False)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _stated_sum(file: Path) -> str | None:
    """What a SHA256SUMS in the file's folder, or up to three folders above, says of it."""
    for folder in list(file.resolve().parents)[:4]:
        sums = folder / SUMS
        if sums.is_file():
            inside = file.resolve().relative_to(folder).as_posix()
            for line in sums.read_text(encoding="utf-8").splitlines():
                digest, _, name = line.partition(" ")
                if name.lstrip(" *").removeprefix("./") == inside:
                    return digest
    return None


def show_list(rows: tuple[Listed, ...]) -> None:
    """A line for every data set that has a name."""
    for row in rows:
        size = f"{row.classes} classes, {row.image_size}x{row.image_size}"
        print(f"{row.name:<15} {row.title:<34} {size:<24} needs {row.needs}")


def show_check(found: Check) -> None:
    """Counts, duplicates, checksums and notes, and what a long tail would leave."""
    colour = "colour" if found.channels == 3 else f"{found.channels} channel(s)"
    print(f"{found.title} ({found.name}): {found.image_size}x{found.image_size}, {colour}")
    print(f"  {found.classes} classes")
    for part, counts in found.splits.items():
        sizes = counts.per_class.values()
        print(
            f"  {part}: {counts.images} images of {counts.classes} classes, "
            f"{min(sizes)} to {max(sizes)} of each"
        )
    print(
        f"  test images that are also training images: {found.duplicates} "
        f"({found.disagreeing} with another label)"
    )
    if found.near_duplicates:
        print(f"  test images that look almost like a training image: {found.near_duplicates}")
    if found.unreadable:
        print(f"  {len(found.unreadable)} images cannot be decoded:")
    for sentence in found.unreadable:
        print(f"    {sentence}")
    for file, state in found.checksums.items():
        print(f"  checksum {state}: {file}")
    if not found.checksums:
        print("  no checksum is known for these files")
    for note in found.notes:
        print(f"  note: {note}")
    if found.imbalance is not None:
        print(
            f"  {found.imbalance['rule']} would leave {found.imbalance['images']} training images:"
        )
        for name, count in found.imbalance["per_class"].items():
            print(f"    {count:>6}  {name}")


def show_prepared(prepared: Prepared) -> None:
    """How many images were decoded, how fast, and where they lie now."""
    where = prepared.folder or "memory (nothing to cache)"
    print(
        f"{prepared.name}: {prepared.images} images in {where}, {prepared.bytes / 2**20:.1f} MiB, "
        f"{prepared.seconds:.2f} s ({prepared.images_per_second:,.0f} images/s)"
    )
    for note in prepared.notes:
        print(f"  note: {note}")

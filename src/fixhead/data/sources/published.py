"""Published sets of photographs: pickled batches, trees of files, or parquet.

CIFAR-10 and CIFAR-100 are pickled batches of rows (N, 3072). A row holds 1,024 red, then green,
then blue values of a 32 × 32 picture. The unpacked folder or the archive
(``cifar-10-python.tar.gz``) is read.

A pickle is a program that may call whatever it can import. Here it can import four names, and gets
harmless stand-ins for them: numpy's array constructor, ``ndarray``, ``dtype``, and the ``encode``
with which Python 3 writes bytes in old protocols. Everything else is refused by name. Only arrays
of uint8 come out, as Python's own ints, strings, lists and dicts do.

Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images".

Tiny ImageNet (Le & Yang 2015): ``wnids.txt`` (200 ids), ``words.txt`` (id and names),
``train/ID/images/*.JPEG`` and ``val/images/*.JPEG`` with ``val/val_annotations.txt`` (file name,
id, box). Its validation part is the test set, as in papers.
CUB-200-2011 (Wah et al. 2011): ``images.txt`` (number, path), ``image_class_labels.txt`` (number,
class from 1), ``train_test_split.txt`` (number, 1 for training), ``classes.txt`` (class, name).
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..._errors import RequestError
from ..cache import LoadedData
from ..dataset import Labels
from ..encoded import EncodedPart, Files
from .arrays import Arrays, open_arrays
from .files import as_text, find_members, member_files, read_lines, read_members
from .folder import load_folder
from .request import DataRequest
from .tables import find_parquet, load_parquet


@dataclass(frozen=True)
class Layout:
    """Names inside one of the two archives."""

    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    labels: str
    names: str

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, *self.test, self.meta)


CIFAR10 = Layout(
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test=("test_batch",),
    meta="batches.meta",
    labels="labels",
    names="label_names",
)
CIFAR100 = Layout(
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    train=("train",),
    test=("test",),
    meta="meta",
    labels="fine_labels",
    names="fine_label_names",
)


def load_cifar10(request: DataRequest) -> LoadedData:
    """CIFAR-10 from ``cifar-10-batches-py`` or its archive."""
    return _load(request, CIFAR10)


def load_cifar100(request: DataRequest) -> LoadedData:
    """CIFAR-100 (the 100 fine classes) from ``cifar-100-python`` or its archive."""
    return _load(request, CIFAR100)


def _load(request: DataRequest, layout: Layout) -> LoadedData:
    place = find_members(request, layout.folder, layout.archive)
    read: dict[str, dict[str, Any]] = {}

    def batches() -> dict[str, dict[str, Any]]:
        if not read:  # one pass through the archive serves both parts
            for name, content in read_members(place, layout.folder, layout.files):
                read[name] = read_pickle(content, f"{name} of {place}")
        return read

    def part(which: str) -> Arrays:
        names = layout.train if which == "train" else layout.test
        return _joined([_batch(batches()[name], layout.labels, name) for name in names])

    def classes() -> Iterable[str]:
        names = _field(batches()[layout.meta], layout.names, layout.meta)
        if not isinstance(names, list) or not all(isinstance(n, str | bytes) for n in names):
            raise RequestError(f"{layout.meta} needs a list of class names in {layout.names}")
        return [n if isinstance(n, str) else as_text(n, layout.meta) for n in names]

    return open_arrays(request, member_files(place, layout.files), classes, part)


def _batch(batch: dict[str, Any], labels: str, name: str) -> Arrays:
    rows = _field(batch, "data", name)
    if getattr(rows, "ndim", 0) != 2 or rows.shape[1] != 3072:
        raise RequestError(f"{name} needs images as rows of 3072 numbers; download it again")
    return Arrays(rows.reshape(-1, 3, 32, 32), np.asarray(_field(batch, labels, name)))


def _field(batch: dict[str, Any], key: str, name: str) -> Any:
    if key not in batch:
        raise RequestError(f"{name} needs an entry {key!r}, got {', '.join(map(str, batch))}")
    return batch[key]


def _joined(parts: list[Arrays]) -> Arrays:
    return Arrays(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")


def read_pickle(content: bytes, name: str) -> dict[str, Any]:
    """The dict in a pickle of plain containers and uint8 arrays; byte strings stay bytes.

    Raises:
        RequestError: the pickle asks for anything else (named), is cut off or broken, or holds no
            dict.
    """
    try:
        loaded = _Reader(io.BytesIO(content), name).load()
    except RequestError:
        raise
    except Exception as error:  # a broken pickle can raise whatever its opcodes stumble over
        raise RequestError(
            f"{name} is not a whole pickle of arrays ({type(error).__name__}: {error}); download "
            "it again"
        ) from error
    if not isinstance(loaded, dict):
        raise RequestError(f"{name} needs a pickled dict, got {type(loaded).__name__}")
    return {_text(key): getattr(value, "array", value) for key, value in loaded.items()}


class _Reader(pickle._Unpickler):
    """The reader written in Python: the one in C takes 16 bytes for every number up to that of a
    memo, so that ten bytes of a broken or malicious file can take all the memory."""

    # The one opcode that sets aside as much as it is told to, before it looks for the bytes.
    dispatch: ClassVar[dict[int, Any]] = {
        code: work
        for code, work in pickle._Unpickler.dispatch.items()
        if code != pickle.BYTEARRAY8[0]
    }

    def __init__(self, file: io.BytesIO, name: str) -> None:
        super().__init__(file, encoding="bytes")
        self._name = name
        # Made anew for every file: a pickle could set attributes on what it is handed.
        self._known = _stand_ins(name)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._known[module, name]
        except KeyError:
            raise RequestError(
                f"{self._name} is a pickle that asks for {module}.{name}; only plain arrays are "
                "read, and nothing was run"
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        raise RequestError(f"{self._name} is a pickle with outside references; none are followed")


def _stand_ins(name: str) -> dict[tuple[str, str], Any]:
    class Kind:
        """numpy.dtype, of which only uint8 is known."""

        def __init__(self, code: Any, *_: Any) -> None:
            if _text(code) not in ("u1", "|u1", "uint8"):
                raise RequestError(f"{name} needs arrays of uint8, got type {_text(code)!r}")

        def __setstate__(self, state: Any) -> None:
            """Byte order and field names, of which uint8 has none."""

    class Array:
        """numpy.ndarray: takes its shape and bytes from numpy's state, after checking both."""

        array: NDArray[np.uint8]

        def __setstate__(self, state: Any) -> None:
            _, shape, kind, fortran, raw = state
            if not isinstance(kind, Kind) or not isinstance(raw, bytes):
                raise RequestError(f"{name} needs arrays of uint8, got other contents")
            flat = np.frombuffer(raw, dtype=np.uint8)
            self.array = flat.reshape(shape, order="F" if fortran else "C")

    def reconstruct(*_: Any) -> Array:
        return Array()

    def encode(text: str, codec: Any) -> bytes:
        if _text(codec) not in ("latin1", "latin-1"):
            raise RequestError(f"{name} encodes bytes as {codec!r}; only latin1 is known")
        return text.encode("latin1")

    known: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): Array,
        ("numpy", "dtype"): Kind,
        ("_codecs", "encode"): encode,
    }
    return known | {(module, "_reconstruct"): reconstruct for module in ARRAY_MODULES}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


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

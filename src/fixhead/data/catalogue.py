"""The data sets by name, and anything that lies in a file or folder: ``load("digits")``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import RequestError
from .._torchvision import import_torchvision
from .cache import LoadedData
from .dataset import Dataset, Split
from .encoded import Progress
from .reading import Reading
from .sources.arrays import load_features
from .sources.csv_labels import find_listings, load_listed
from .sources.folder import holds_class_folders, load_folder
from .sources.hub import PREFIX, is_saved, load_hub
from .sources.labels import arrange_classes
from .sources.published import (
    load_cifar10,
    load_cifar10_jpeg,
    load_cifar100,
    load_cub,
    load_imagenet,
    load_tiny_imagenet,
)
from .sources.request import DataRequest
from .sources.shards import find_shards, load_shards
from .sources.small_sets import (
    load_digits,
    load_fashion,
    load_mnist,
    load_stl10,
    load_svhn,
    load_svhn_extra,
)
from .sources.tables import find_parquet, holds_features, load_parquet


@dataclass(frozen=True)
class NamedSet:
    """A data set that has a name.

    ``title`` is for tables; ``classes`` and ``image_size`` are its own; ``needs`` says what must
    lie in the data folder. ``resizable`` sets are decoded from image files, so another size can be
    asked for; ``native`` is false where the files have no size of their own.
    """

    title: str
    classes: int
    image_size: int
    needs: str
    load: Callable[[DataRequest], LoadedData]
    resizable: bool = False
    native: bool = True


DATASETS: dict[str, NamedSet] = {
    "digits": NamedSet("Handwritten digits (scikit-learn)", 10, 8, "nothing", load_digits),
    "mnist": NamedSet(
        "MNIST", 10, 28, "train-images-idx3-ubyte.gz and its three fellows", load_mnist
    ),
    "fashion-mnist": NamedSet(
        "Fashion-MNIST", 10, 28, "the four idx files, or FashionMNIST/raw", load_fashion
    ),
    "cifar10": NamedSet(
        "CIFAR-10", 10, 32, "cifar-10-python.tar.gz or cifar-10-batches-py", load_cifar10
    ),
    "cifar100": NamedSet(
        "CIFAR-100", 100, 32, "cifar-100-python.tar.gz or cifar-100-python", load_cifar100
    ),
    "cifar10-jpeg": NamedSet(
        "CIFAR-10 (JPEG copy)",
        *(10, 32, "cifar10_jpeg/*.parquet", load_cifar10_jpeg),
        resizable=True,
    ),
    "stl10": NamedSet("STL-10", 10, 96, "stl10_binary.tar.gz or stl10_binary", load_stl10),
    "svhn": NamedSet("SVHN", 10, 32, "train_32x32.mat, test_32x32.mat", load_svhn),
    "svhn-extra": NamedSet(
        "SVHN with extra", 10, 32, "train_, extra_ and test_32x32.mat", load_svhn_extra
    ),
    "tiny-imagenet": NamedSet(
        "Tiny ImageNet",
        *(200, 64, "tiny-imagenet-200 or tiny_imagenet/*.parquet", load_tiny_imagenet),
        resizable=True,
    ),
    "cub200": NamedSet(
        "CUB-200-2011",
        *(200, 224, "CUB_200_2011 with its lists and images", load_cub),
        resizable=True,
        native=False,
    ),
    "imagenet": NamedSet(
        "ImageNet",
        *(1000, 224, "train/ID/*.JPEG and val/ID/*.JPEG", load_imagenet),
        resizable=True,
        native=False,
    ),
}


def load(
    name_or_path: str,
    *,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    image_size: int | None = None,
    stream: bool | None = None,
    reading: Reading | None = None,
    progress: Progress | None = None,
    before_decoding: Callable[[int], None] | None = None,
) -> Dataset:
    """The data set of that name, or what lies at that path, or ``hf:OWNER/NAME``.

    A path may be an image folder, a folder of WebDataset shards, parquet files or a folder of
    them, a folder saved by Hugging Face ``datasets``, or features (``.npz``, or the ``.parquet`` of
    ``fixhead embed``). A name goes before a folder of the same name in the current directory: write
    ``./digits`` for the folder.

    ``data_dir`` is where a named data set's files lie; ``image_size`` resizes images that are
    decoded from files; ``stream`` decodes them anew in every epoch instead of once into the cache
    (None: only if they would not fit in memory); ``reading`` says which columns, parts and order
    of classes are meant; ``progress(done, all)`` is called while images are decoded into the cache,
    and ``before_decoding(classes)`` before that, to refuse what cannot work.

    Raises:
        RequestError: neither a known name nor a path; files missing or broken; bad values.
    """
    if image_size is not None and image_size < 1:
        raise RequestError(f"--image-size needs a whole number from 1 up, got {image_size}")
    return open_request(
        DataRequest(
            name_or_path,
            data_dir,
            cache_dir,
            image_size,
            stream,
            reading=reading or Reading(),
            progress=progress,
            before_decoding=before_decoding or (lambda classes: None),
        )
    )


def open_request(request: DataRequest) -> Dataset:
    """What ``load`` does; the files that were read are in ``request.used`` afterwards."""
    name_or_path = request.name
    if name_or_path in DATASETS:
        return _open_named(DATASETS[name_or_path], request)
    if name_or_path.startswith(PREFIX):
        request = _safe(request, name_or_path)
        return _dataset(request, load_hub(name_or_path, request), name_or_path)
    path = Path(name_or_path).expanduser()
    if path.exists():
        title = path.resolve().stem if path.is_file() else path.resolve().name
        request = _safe(request, title)
        return _dataset(request, _open_path(path, request), title)
    raise RequestError(
        f"data needs one of {', '.join(DATASETS)}, a path to images or features, or "
        f"{PREFIX}OWNER/NAME, got {name_or_path!r}"
    )


def _open_named(named: NamedSet, request: DataRequest) -> Dataset:
    if not named.resizable and request.image_size not in (None, named.image_size):
        raise RequestError(
            f"image_size cannot be chosen for {request.name!r}, which comes as arrays of "
            f"{named.image_size}x{named.image_size} pixels, got image_size={request.image_size}"
        )
    if named.native:
        request = replace(request, native=named.image_size)
    elif request.image_size is None:
        request = replace(request, image_size=named.image_size)
    return _dataset(request, named.load(request), named.title, named=True)


def _open_path(path: Path, request: DataRequest) -> LoadedData:
    """The entry of a path, by what lies there."""
    if path.is_file():
        if path.suffix == ".npz":
            return load_features(path, request)
        if path.suffix == ".parquet":
            return (
                load_features(path, request)
                if holds_features(path)
                else load_parquet([path], request)
            )
        raise RequestError(f"data at a file needs .npz or .parquet, got {path}")
    if is_saved(path):
        return load_hub(str(path), request)
    if find_parquet(path) and not holds_class_folders(path):
        return load_parquet(find_parquet(path), request)
    if find_shards(path) and not holds_class_folders(path):
        return load_shards(path, request)
    lists = find_listings(path, request.reading)
    return load_listed(path, lists, request) if lists else load_folder(path, request)


def _safe(request: DataRequest, title: str) -> DataRequest:
    """The request under a name that can be part of a folder's name in the cache."""
    return replace(request, name=re.sub(r"[^\w.-]+", "_", title).strip("._") or "data")


def _dataset(
    request: DataRequest, loaded: LoadedData, title: str, *, named: bool = False
) -> Dataset:
    """The data set, its classes in the order and under the names that were asked for."""
    given = request.reading.class_order or request.reading.class_map
    data = Dataset(
        request.name,
        title,
        loaded.classes,
        loaded.train,
        loaded.test,
        (*loaded.notes, *_skipped(loaded)),
        loaded.moments,
        from_path=not named,
        sorted_classes=not (named or given) and list(loaded.classes) == sorted(loaded.classes),
        skipped=loaded.skipped,
        bits=loaded.bits,
    )
    if given:
        classes, places, notes = arrange_classes(data.classes, request.reading)
        train, test = (
            replace(split, labels=places[split.labels]) for split in (data.train, data.test)
        )
        data = replace(data, classes=classes, train=train, test=test, notes=(*data.notes, *notes))
    return replace(data, notes=(*data.notes, *_missing(data.classes, data.train, data.test)))


def _missing(classes: tuple[str, ...], train: Split, test: Split) -> Iterator[str]:
    """What to say of classes without images in one of the parts."""
    for part, split in (("training", train), ("test", test)):
        empty = [classes[label] for label in np.flatnonzero(split.counts(len(classes)) == 0)]
        if empty:
            yield (
                f"the {part} part has no images of {len(empty)} of the {len(classes)} classes "
                f"({', '.join(empty[:3])}{', ...' if len(empty) > 3 else ''})"
            )


def _skipped(loaded: LoadedData) -> Iterator[str]:
    for part, reasons in loaded.skipped.items():
        yield f"left out {len(reasons)} images of the {part} part that cannot be decoded"


FETCH: dict[str, Callable[[Any, str], object]] = {
    "mnist": lambda sets, root: sets.MNIST(root, download=True),
    "fashion-mnist": lambda sets, root: sets.FashionMNIST(root, download=True),
    "cifar10": lambda sets, root: sets.CIFAR10(root, download=True),
    "cifar100": lambda sets, root: sets.CIFAR100(root, download=True),
    "stl10": lambda sets, root: sets.STL10(root, download=True),
    "svhn": lambda sets, root: _fetch_svhn(sets, root, ("train", "test")),
    "svhn-extra": lambda sets, root: _fetch_svhn(sets, root, ("train", "extra", "test")),
}


def download(name: str, data_dir: Path) -> None:
    """Put the files of data set ``name`` into ``data_dir``, from their publisher.

    Raises:
        RequestError: a set that cannot be fetched this way, or no network.
    """
    if name not in FETCH:
        raise RequestError(
            f"download knows {', '.join(FETCH)}, got {name!r}"
            + (f"; get {DATASETS[name].needs} from its publisher" if name in DATASETS else "")
        )
    import_torchvision()
    from torchvision import datasets

    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        FETCH[name](datasets, str(data_dir))
    except (OSError, RuntimeError) as error:  # URLError is an OSError
        raise RequestError(
            f"data {name!r} could not be downloaded ({error}); where there is no network, put "
            f"{DATASETS[name].needs} into {data_dir} by hand"
        ) from error


def _fetch_svhn(sets: Any, root: str, parts: tuple[str, ...]) -> None:
    for part in parts:
        sets.SVHN(root, split=part, download=True)

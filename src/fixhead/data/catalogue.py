"""The data sets by name, and anything that lies in a file or folder: ``load("digits")``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .._errors import RequestError
from .cache import Entry
from .dataset import Dataset
from .encoded import Progress
from .sources.cifar import load_cifar10, load_cifar100
from .sources.cub import load_cub
from .sources.digits import load_digits
from .sources.features import load_features
from .sources.folder import load_folder
from .sources.hub import PREFIX, is_saved, load_hub
from .sources.idx import load_fashion, load_mnist
from .sources.request import Request
from .sources.shards import load_shards
from .sources.stl10 import load_stl10
from .sources.svhn import load_svhn, load_svhn_extra
from .sources.tables import find_parquet, load_parquet
from .sources.tiny_imagenet import load_tiny_imagenet


@dataclass(frozen=True)
class Named:
    """A data set that has a name.

    ``title`` is for tables; ``classes`` and ``image_size`` are its own; ``needs`` says what must
    lie in the data folder. ``resizable`` sets are decoded from image files, so another size can be
    asked for; ``native`` is false where the files have no size of their own.
    """

    title: str
    classes: int
    image_size: int
    needs: str
    load: Callable[[Request], Entry]
    resizable: bool = False
    native: bool = True


def load_cifar10_jpeg(request: Request) -> Entry:
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


def load_imagenet(request: Request) -> Entry:
    """ImageNet as a folder: ``train/ID/*.JPEG`` and ``val/ID/*.JPEG``."""
    return load_folder(request.root("train/ID/*.JPEG, val/ID/*.JPEG"), request, channels=3)


DATASETS: dict[str, Named] = {
    "digits": Named("Handwritten digits (scikit-learn)", 10, 8, "nothing", load_digits),
    "mnist": Named("MNIST", 10, 28, "train-images-idx3-ubyte.gz and its three fellows", load_mnist),
    "fashion-mnist": Named(
        "Fashion-MNIST", 10, 28, "the four idx files, or FashionMNIST/raw", load_fashion
    ),
    "cifar10": Named(
        "CIFAR-10", 10, 32, "cifar-10-python.tar.gz or cifar-10-batches-py", load_cifar10
    ),
    "cifar100": Named(
        "CIFAR-100", 100, 32, "cifar-100-python.tar.gz or cifar-100-python", load_cifar100
    ),
    "cifar10-jpeg": Named(
        "CIFAR-10 (JPEG copy)",
        *(10, 32, "cifar10_jpeg/*.parquet", load_cifar10_jpeg),
        resizable=True,
    ),
    "stl10": Named("STL-10", 10, 96, "stl10_binary.tar.gz or stl10_binary", load_stl10),
    "svhn": Named("SVHN", 10, 32, "train_32x32.mat, test_32x32.mat", load_svhn),
    "svhn-extra": Named(
        "SVHN with extra", 10, 32, "train_, extra_ and test_32x32.mat", load_svhn_extra
    ),
    "tiny-imagenet": Named(
        "Tiny ImageNet",
        *(200, 64, "tiny-imagenet-200 or tiny_imagenet/*.parquet", load_tiny_imagenet),
        resizable=True,
    ),
    "cub200": Named(
        "CUB-200-2011",
        *(200, 224, "CUB_200_2011 with its lists and images", load_cub),
        resizable=True,
        native=False,
    ),
    "imagenet": Named(
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
    progress: Progress | None = None,
) -> Dataset:
    """The data set of that name, or what lies at that path, or ``hf:OWNER/NAME``.

    A path may be an image folder, a folder of WebDataset shards, parquet files or a folder of
    them, a folder saved by Hugging Face ``datasets``, or an ``.npz`` of features. A name goes
    before a folder of the same name in the current directory: write ``./digits`` for the folder.

    ``data_dir`` is where a named data set's files lie; ``image_size`` resizes images that are
    decoded from files; ``stream`` decodes them anew in every epoch instead of once into the cache
    (None: only if they would not fit in memory); ``progress(done, all)`` is called while images
    are decoded into the cache.

    Raises:
        RequestError: neither a known name nor a path; files missing or broken; bad values.
    """
    if image_size is not None and image_size < 1:
        raise RequestError(f"--image-size needs a whole number from 1 up, got {image_size}")
    return open_request(
        Request(name_or_path, data_dir, cache_dir, image_size, stream, progress=progress)
    )


def open_request(request: Request) -> Dataset:
    """What ``load`` does; the files that were read are in ``request.used`` afterwards."""
    name_or_path = request.name
    if name_or_path in DATASETS:
        return _named(DATASETS[name_or_path], request)
    if name_or_path.startswith(PREFIX):
        request = _safe(request, name_or_path)
        return _dataset(request.name, load_hub(name_or_path, request), name_or_path)
    path = Path(name_or_path).expanduser()
    if path.exists():
        title = path.resolve().stem if path.is_file() else path.resolve().name
        request = _safe(request, title)
        return _dataset(request.name, _at(path, request), title)
    raise RequestError(
        f"data needs one of {', '.join(DATASETS)}, a path to images or features, or "
        f"{PREFIX}OWNER/NAME, got {name_or_path!r}"
    )


def _named(named: Named, request: Request) -> Dataset:
    if not named.resizable and request.image_size not in (None, named.image_size):
        raise RequestError(
            f"image_size cannot be chosen for {request.name!r}, which comes as arrays of "
            f"{named.image_size}x{named.image_size} pixels, got image_size={request.image_size}"
        )
    if named.native:
        request = replace(request, native=named.image_size)
    elif request.image_size is None:
        request = replace(request, image_size=named.image_size)
    return _dataset(request.name, named.load(request), named.title)


def _at(path: Path, request: Request) -> Entry:
    """The entry of a path, by what lies there."""
    if path.is_file():
        if path.suffix == ".npz":
            return load_features(path, request)
        if path.suffix == ".parquet":
            return load_parquet([path], request)
        raise RequestError(f"data at a file needs .npz or .parquet, got {path}")
    if is_saved(path):
        return load_hub(str(path), request)
    if find_parquet(path):
        return load_parquet(find_parquet(path), request)
    if any(path.glob("*.tar")):
        return load_shards(path, request)
    return load_folder(path, request)


def _safe(request: Request, title: str) -> Request:
    """The request under a name that can be part of a folder's name in the cache."""
    return replace(request, name=re.sub(r"[^\w.-]+", "_", title).strip("._") or "data")


def _dataset(name: str, entry: Entry, title: str) -> Dataset:
    return Dataset(
        name,
        title,
        entry.classes,
        entry.train,
        entry.test,
        entry.notes,
        entry.moments,
    )

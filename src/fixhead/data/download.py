"""Fetching what torchvision can fetch; otherwise a sentence that says what to do by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._errors import RequestError
from .._torchvision import import_torchvision
from .catalogue import DATASETS

FETCH: dict[str, Callable[[Any, str], object]] = {
    "mnist": lambda sets, root: sets.MNIST(root, download=True),
    "fashion-mnist": lambda sets, root: sets.FashionMNIST(root, download=True),
    "cifar10": lambda sets, root: sets.CIFAR10(root, download=True),
    "cifar100": lambda sets, root: sets.CIFAR100(root, download=True),
    "stl10": lambda sets, root: sets.STL10(root, download=True),
    "svhn": lambda sets, root: _svhn(sets, root, ("train", "test")),
    "svhn-extra": lambda sets, root: _svhn(sets, root, ("train", "extra", "test")),
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


def _svhn(sets: Any, root: str, parts: tuple[str, ...]) -> None:
    for part in parts:
        sets.SVHN(root, split=part, download=True)

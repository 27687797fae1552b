"""What a data set is once it has been read: two splits, class names, and what to say about it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._errors import RequestError

Labels = NDArray[np.int64]

CHUNK_BYTES = 1 << 24
"""Passes over a whole split read about this much at a time, so memory stays flat."""


class Pixels(Protocol):
    """Where a split's images lie: an array, a memory map, or rows decoded when they are asked for.

    ``pixels[indices]`` gives an array (n, C, H, W); uint8 in 0..255, or float32 features (n, d).
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...


class PixelSubset:
    """Some rows of other pixels, in a given order, without copying them: ``base[indices]``."""

    def __init__(self, base: Pixels, indices: Labels) -> None:
        # PixelSubset of rows are rows of the first base, so a chain of splits costs one look-up.
        self.base: Pixels = base.base if isinstance(base, PixelSubset) else base
        self.indices: Labels = base.indices[indices] if isinstance(base, PixelSubset) else indices

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.indices), *self.base.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.base.dtype

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        return self.base[self.indices[index]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.base[self.indices], dtype=dtype)


@dataclass(frozen=True, eq=False)
class Split:
    """Images (N, C, H, W) of uint8 (or features (N, d) of float32) and labels (N,) of int64.

    ``groups`` (N,) number what must stay on one side of a cut (the frames of one video, say).
    ``items`` are the encoded images (``data.encoded.Items``) that the first base of ``images`` was
    decoded from, row by row, where there are any.

    Raises:
        RequestError: labels of more than one dimension (multi-label targets), or that are no
            integers, or of another length than the images; images of another shape or type.
    """

    images: Pixels
    labels: Labels
    groups: Labels | None = None
    items: Any = None

    def __post_init__(self) -> None:
        _check_images(self.images)
        object.__setattr__(self, "labels", _checked_labels(self.labels, len(self.images)))
        if self.groups is not None:
            object.__setattr__(self, "groups", _checked_labels(self.groups, len(self.images)))

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self, classes: int) -> Labels:
        """How many images each class has: (K,)."""
        return np.bincount(self.labels, minlength=classes).astype(np.int64)

    def take(self, indices: ArrayLike) -> Split:
        """The split of these images, in this order; nothing is copied until it is read.

        Raises:
            RequestError: indices that are no whole numbers (a mask, say), or out of range.
        """
        given = np.asarray(indices)
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            raise RequestError(
                f"take() needs indices as whole numbers (n,), got {given.dtype} of shape "
                f"{given.shape}; use numpy.flatnonzero for a mask"
            )
        chosen = given.astype(np.int64)
        if chosen.size and not -len(self) <= chosen.min() <= chosen.max() < len(self):
            raise RequestError(
                f"take() needs indices below {len(self)}, got {chosen.min()} to {chosen.max()}"
            )
        groups = None if self.groups is None else self.groups[chosen]
        return Split(PixelSubset(self.images, chosen), self.labels[chosen], groups, self.items)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named data set with a training and a test part of the same classes.

    ``name`` is what a person types, ``title`` what tables say, ``notes`` what should be known
    about it (passed-over files, lossy copies, ...). ``moments`` are the mean and standard
    deviation per channel where they are already known; otherwise they are computed when needed.
    ``from_path`` says that it is a person's own, ``sorted_classes`` that nobody gave its classes an
    order and they stand in that of their names. ``skipped`` holds the images that were left out
    because they cannot be decoded, by part and number, and why. ``bits`` are those that its 16-bit
    images use.

    Raises:
        RequestError: no images, one class only, class names that repeat, labels out of range,
            images of different shapes in the two parts.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    notes: tuple[str, ...] = ()
    moments: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    from_path: bool = False
    sorted_classes: bool = False
    skipped: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    bits: int = 16

    def __post_init__(self) -> None:
        _check_classes(self.name, self.classes)
        for part, split in (("training", self.train), ("test", self.test)):
            _check_part(self.name, part, split, len(self.classes))
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise RequestError(
                f"data {self.name!r} needs training and test images of one shape, got "
                f"{self.train.images.shape[1:]} and {self.test.images.shape[1:]}; give --image-size"
            )

    @property
    def channels(self) -> int:
        """C of the images (1 grey, 3 colour); the width d of feature arrays."""
        return int(self.train.images.shape[1])

    @property
    def image_size(self) -> int:
        """Height = width in pixels; 1 for feature arrays."""
        return int(self.train.images.shape[-1]) if len(self.train.images.shape) == 4 else 1

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean per channel over the training images, in 0..1."""
        return self._moments[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation per channel over the training images, in 0..1; 1 if constant."""
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.moments or moments(self.train.images)

    def with_train(self, train: Split, *notes: str) -> Dataset:
        """The same data set with other training images (a long tail, say)."""
        return replace(self, train=train, notes=self.notes + notes, moments=None)


def moments(images: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """``μ_c = mean(x)``, ``σ_c = sqrt(mean((x − μ_c)²))`` per channel; x in 0..1 for images.

    In chunks. Images are summed in whole numbers, n Σx² − (Σx)², which is exact; features in
    float64. A channel that never changes gets σ = 1: dividing by it leaves zeros, not NaN.
    """
    whole = images.dtype == np.uint8
    number = len(images) * math.prod(images.shape[2:])
    mean, variance = (_whole_moments if whole else _float_moments)(images, number)
    spread = [math.sqrt(value) if value > 0 else 1.0 for value in variance]
    return tuple(mean), tuple(spread)


def _whole_moments(images: Pixels, number: int) -> tuple[list[float], list[float]]:
    total = np.zeros(images.shape[1], dtype=np.uint64)
    square = np.zeros_like(total)
    for chunk in chunks(images):
        values = chunk.reshape(len(chunk), len(total), -1)
        total += values.sum(axis=(0, 2), dtype=np.uint64)
        square += np.square(values, dtype=np.uint16).sum(axis=(0, 2), dtype=np.uint64)
    pairs = list(zip(total.tolist(), square.tolist(), strict=True))
    mean = [first / (255 * number) for first, _ in pairs]
    variance = [(number * second - first**2) / (255 * number) ** 2 for first, second in pairs]
    return mean, variance


def _float_moments(features: Pixels, number: int) -> tuple[list[float], list[float]]:
    mean = sum(chunk.sum(axis=0, dtype=np.float64) for chunk in chunks(features)) / number
    spread = sum(((chunk - mean) ** 2).sum(axis=0) for chunk in chunks(features)) / number
    # What rounding leaves of a column that never changes is no spread.
    spread = np.where(spread > (1e-12 * np.abs(mean)) ** 2, spread, 0.0)
    return mean.tolist(), spread.tolist()


def chunks(images: Pixels) -> Iterator[NDArray[Any]]:
    """The images in their order, some 16 MiB at a time."""
    size = max(1, int(np.prod(images.shape[1:])) * images.dtype.itemsize)
    step = max(1, CHUNK_BYTES // size)
    for start in range(0, len(images), step):
        yield images[start : start + step]


def _check_images(images: Pixels) -> None:
    fine = (images.dtype == np.uint8 and len(images.shape) == 4) or (
        images.dtype == np.float32 and len(images.shape) == 2
    )
    if not fine:
        raise RequestError(
            "images need uint8 of shape (N, C, H, W), or float32 features of shape (N, d), got "
            f"{images.dtype} of shape {images.shape}"
        )
    if images.dtype == np.float32:
        _check_finite(images)


def _check_finite(features: Pixels) -> None:
    start = 0
    for chunk in chunks(features):
        bad = np.flatnonzero(~np.isfinite(chunk).all(axis=1))
        if len(bad):
            raise RequestError(
                f"features need finite numbers, got NaN or infinity in row {start + int(bad[0])}; "
                "remove or repair those rows"
            )
        start += len(chunk)


def _checked_labels(labels: ArrayLike, images: int) -> Labels:
    given = np.asarray(labels)
    if given.ndim > 1:
        raise RequestError(
            f"labels need one class per image, of shape (N,), got shape {given.shape}: multi-label "
            "targets are not supported; keep one class per image"
        )
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise RequestError(
            f"labels need whole numbers of shape (N,), got {given.dtype} of shape {given.shape}"
        )
    if len(given) != images:
        raise RequestError(f"labels need one per image = {images}, got {len(given)}")
    return given.astype(np.int64, copy=False)


def _check_classes(name: str, classes: tuple[str, ...]) -> None:
    if len(classes) < 2:
        raise RequestError(
            f"data {name!r} needs at least two classes, got {len(classes)} "
            f"({', '.join(classes) or 'none'})"
        )
    seen: set[str] = set()
    for label in classes:
        if label in seen:
            raise RequestError(f"data {name!r} needs class names that differ, got {label!r} twice")
        seen.add(label)


def _check_part(name: str, part: str, split: Split, classes: int) -> None:
    if len(split) == 0:
        raise RequestError(f"data {name!r} needs images, got none in its {part} part")
    low, high = int(split.labels.min()), int(split.labels.max())
    if low < 0 or high >= classes:
        raise RequestError(
            f"data {name!r} needs labels from 0 to {classes - 1} for its {classes} classes, got "
            f"{low if low < 0 else high} in its {part} part"
        )

"""Images that still have to be decoded: files, table rows, members of an archive.

Whatever they lie in, they are ``Items``: numbered, each with a name for messages and either a path
or its bytes. They are decoded once into an array, or whenever they are asked for (``Streamed``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._errors import RequestError
from .dataset import Labels, PixelSubset, Split
from .images import Header, UnreadableError, decode, largest_level, read_header

BLOCK = 64
"""Images per task of the decoding threads."""

BITS_SAMPLE = 64
"""So many images of each part, evenly spaced, show how many of 16 bits they use."""

REPORT = 256
"""Progress is said after so many images."""

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Called with the images that are decoded so far, and all of a part's images."""


class Encoded(NamedTuple):
    """One image as it lies: a name to say in messages, and a path or the bytes of a file."""

    name: str
    content: Path | bytes


class Items(Protocol):
    """Numbered encoded images; safe to ask from several threads."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Encoded: ...
    def name(self, index: int, /) -> str:
        """What the image is called, by which it may belong to a group."""


@dataclass(frozen=True)
class Files:
    """Image files by their paths."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Encoded:
        path = self.paths[index]
        return Encoded(str(path), path)

    def name(self, index: int) -> str:
        return str(self.paths[index].absolute())


@dataclass(frozen=True)
class ItemSubset:
    """Some of other items, in the order of ``indices``."""

    items: Items
    indices: Labels

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Encoded:
        return self.items[int(self.indices[index])]

    def name(self, index: int) -> str:
        return self.items.name(int(self.indices[index]))


def file_of(split: Split, index: int) -> Path | None:
    """The file that an image of a split was decoded from; None where it was no file of its own."""
    items: Any = split.items
    if isinstance(split.images, PixelSubset):
        index = int(split.images.indices[index])
    while isinstance(items, ItemSubset):
        items, index = items.items, int(items.indices[index])
    return items.paths[index].absolute() if isinstance(items, Files) else None


@dataclass(frozen=True)
class EncodedPart:
    """Encoded images and their labels (N,)."""

    items: Items
    labels: Labels

    def take(self, indices: Labels) -> EncodedPart:
        return EncodedPart(ItemSubset(self.items, indices), self.labels[indices])


@dataclass(frozen=True)
class Decoding:
    """How images become arrays: their size (None: their own), channels, the bits that the 16-bit
    ones use, and how many pixels a picture may have (None: PIL's limit)."""

    image_size: int | None
    channels: int
    bits: int = 16
    max_pixels: int | None = None

    def __call__(self, item: Encoded) -> NDArray[np.uint8]:
        return decode(
            item.content,
            item.name,
            channels=self.channels,
            image_size=self.image_size,
            bits=self.bits,
            max_pixels=self.max_pixels,
        )


class Streamed:
    """Pixels that are decoded whenever they are asked for; nothing is kept."""

    def __init__(self, items: Items, decoding: Decoding) -> None:
        size = decoding.image_size
        if size is None:
            raise RequestError("streaming images needs --image-size, got none")
        self.items = items
        self.decoding = decoding
        self.shape: tuple[int, ...] = (len(items), decoding.channels, size, size)
        self.dtype: np.dtype[Any] = np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        wanted = np.arange(len(self))[index]
        chosen = ItemSubset(self.items, np.atleast_1d(wanted))
        images = np.empty((len(chosen), *self.shape[1:]), dtype=np.uint8)
        decode_into(images, chosen, self.decoding)
        return images if np.ndim(wanted) else images[0]


def common_header(
    parts: Sequence[Items],
    image_size: int | None,
    channels: int | None,
    *,
    max_pixels: int | None = None,
) -> Header:
    """The one size of all images (or ``image_size``), and 3 channels if any has colour.

    Raises:
        RequestError: sizes that differ or are not square, and no ``image_size``.
    """
    if image_size is not None and channels is not None:
        return Header(image_size, image_size, channels)
    first = read_header(parts[0][0].content, parts[0][0].name, max_pixels=max_pixels)
    most = first.channels

    def look(items: Items, index: int) -> int:
        item = items[index]
        header = read_header(item.content, item.name, max_pixels=max_pixels)
        if image_size is None and header.size != first.size:
            raise RequestError(
                f"images need one size, got {first.width}x{first.height} ({parts[0][0].name}) and "
                f"{header.width}x{header.height} ({item.name}); give --image-size"
            )
        return header.channels

    for items in parts:
        most = max(most, *each(len(items), partial(look, items)))
    if image_size is None and first.height != first.width:
        raise RequestError(
            f"images need to be square, got {first.width}x{first.height} ({parts[0][0].name}); "
            "give --image-size"
        )
    side = first.height if image_size is None else image_size
    return Header(side, side, most if channels is None else channels)


def used_bits(parts: Sequence[Items], *, max_pixels: int | None = None) -> int | None:
    """How many bits the 16-bit images of a set use (8 to 16), judged by ``BITS_SAMPLE`` of them.

    None where there are none. Cameras and scanners put 10, 12 or 14 bits into 16, from below: the
    upper 8 of such a file would be nearly black.
    """
    highest: list[int] = []
    for items in filter(len, parts):
        for index in np.unique(np.linspace(0, len(items) - 1, BITS_SAMPLE).astype(int)).tolist():
            item = items[index]
            if read_header(item.content, item.name, max_pixels=max_pixels).bits == 16:
                highest.append(largest_level(item.content, item.name, max_pixels=max_pixels))
            elif not highest:
                break  # the first of a part is like the others
    return min(max(max(highest).bit_length(), 8), 16) if highest else None


def decode_into(
    images: NDArray[np.uint8],
    items: Items,
    decoding: Decoding,
    progress: Progress | None = None,
) -> None:
    """Decode ``items`` into ``images`` (N, C, H, W); a wrong size is refused by name."""
    shape = images.shape[1:]

    def put(index: int) -> None:
        item = items[index]
        image = decoding(item)
        if image.shape != shape:
            raise RequestError(
                f"image {item.name} needs {shape[2]}x{shape[1]} pixels, got "
                f"{image.shape[2]}x{image.shape[1]}; give --image-size"
            )
        images[index] = image

    for done, _ in enumerate(each(len(items), put), start=1):
        if progress is not None and (done % REPORT == 0 or done == len(items)):
            progress(done, len(items))


def find_unreadable(items: Items, max_pixels: int | None = None) -> dict[int, str]:
    """Every image that cannot be decoded, by its number, and why: all of them are tried."""

    def attempt(index: int) -> str | None:
        item = items[index]
        try:
            decode(item.content, item.name, channels=3, image_size=1, max_pixels=max_pixels)
        except UnreadableError as error:
            return str(error)
        return None

    reasons = enumerate(each(len(items), attempt))
    return {index: reason for index, reason in reasons if reason is not None}


def each(number: int, work: Callable[[int], T]) -> Iterator[T]:
    """``work(0), …, work(number − 1)`` on a few threads, in order (PIL lets go of the GIL).

    The first failure is raised, and what has not begun by then is not begun.
    """
    threads = min(16, cores())
    step = max(1, min(BLOCK, number // (4 * threads)))

    def block(start: int) -> list[T]:
        return [work(index) for index in range(start, min(start + step, number))]

    with ThreadPoolExecutor(threads) as pool:
        for results in pool.map(block, range(0, number, step)):
            yield from results


def cores() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

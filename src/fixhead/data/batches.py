"""From a split to the batches of an epoch: normalised float32 images and labels on a device.

An epoch has every image once, or classes drawn more evenly than they come: a class c of n_c images
is drawn with probability ``n_c^q / Σ_j n_j^q`` and then one of its images. q = 1 is what the data
have, q = 0 is class-balanced, q = 1/2 is square-root sampling. Such an epoch has N draws with
replacement.

Source: Kang et al. 2020, "Decoupling representation and classifier", eq. 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import stream
from .augment.chain import Augmentation, Chain
from .augment.mixing import Mixed, Mixing
from .dataset import Labels, Pixels, Split

POWERS = {"class-balanced": 0.0, "square-root": 0.5}
SAMPLINGS = ("each", *POWERS)

RESIDENT_BYTES = {"cpu": 1 << 28}
RESIDENT_BYTES_ELSEWHERE = 1 << 32
"""Splits up to this size (256 MiB on the CPU, 4 GiB on an accelerator) are put whole on the device.

Larger ones are read batch by batch, in ascending order within a batch, one batch ahead.
"""


class Batches:
    """The batches of a split: ``for images, labels in batches.epoch(3): ...``

    ``images`` (n, C, H, W) are float32, ``(x / 255 − mean_c) / std_c`` after augmentation; features
    (n, d) are normalised alike without the 255. ``labels`` (n,) are int64. Both lie on ``device``.

    Order and augmentation of epoch e are drawn from the streams ("order", e) and ("augmentation",
    e) of ``seed``: the same for every arm, and on every device. Every image comes exactly once,
    unless ``sampling`` draws with replacement (see ``draw_order``); a last batch of a single image
    joins the batch before it, because BatchNorm needs two.

    Raises:
        RequestError: a batch size below 1, a mean or std of the wrong length, a std of zero, an
            augmentation for feature arrays, an unknown sampling, or one without shuffling.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        device: torch.device | str,
        mean: Sequence[float],
        std: Sequence[float],
        augmentation: Augmentation | None = None,
        seed: int,
        shuffle: bool,
        sampling: str = "each",
    ) -> None:
        _check(split.images, batch_size, mean, std, augmentation)
        _check_sampling(sampling, shuffle)
        self.split = split
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.augmentation = augmentation
        self.seed = seed
        self.shuffle = shuffle
        self.sampling = sampling
        self._shift, self._scale = _affine(split.images, mean, std, self.device)
        self._labels = torch.tensor(split.labels, device=self.device)
        self._resident = _resident(split.images, self.device)

    def __len__(self) -> int:
        return len(self.sizes())

    def sizes(self) -> list[int]:
        """How many images each batch of an epoch holds."""
        whole, rest = divmod(len(self.split), self.batch_size)
        sizes = [self.batch_size] * whole + ([rest] if rest else [])
        if len(sizes) > 1 and rest == 1:
            sizes[-2:] = [self.batch_size + 1]
        return sizes

    @property
    def mixing(self) -> Mixing | None:
        """The way of mixing images that the augmentation ends in, if any: use ``mixed`` then."""
        return self.augmentation.mixing if isinstance(self.augmentation, Chain) else None

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of epoch ``number``, drawn from that epoch's own streams.

        Raises:
            RequestError: the augmentation mixes images, so a batch has two labels per image.
        """
        if self.mixing is not None:
            raise RequestError(
                f"augmentation {self.mixing} mixes labels, and this loop takes one label per "
                "image; leave it out"
            )
        yield from self.unmixed(number)

    def unmixed(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of epoch ``number``, as they are before any mixing."""
        for images, labels, _ in self._batches(number):
            yield images, labels

    def mixed(self, number: int) -> Iterator[Mixed]:
        """The batches of epoch ``number``, mixed where the augmentation says so."""
        for images, labels, draws in self._batches(number):
            if self.mixing is None:
                yield Mixed(images, labels, labels, 1.0)
            else:
                yield self.mixing(images, labels, draws)

    def _batches(self, number: int) -> Iterator[tuple[Tensor, Tensor, torch.Generator]]:
        draws = stream(self.seed, "augmentation", number)
        for indices, images in self._read(torch.split(self._order(number), self.sizes())):
            if self.augmentation is not None:
                images = self.augmentation(images, draws)
            images = images.float().mul_(self._scale).add_(self._shift)
            if isinstance(self.augmentation, Chain):
                images = self.augmentation.normalised(images, draws)
            yield images, self._labels[indices.to(self.device, non_blocking=True)], draws

    def _order(self, number: int) -> Tensor:
        if not self.shuffle:
            return torch.arange(len(self.split))
        draws = stream(self.seed, "order", number)
        return draw_order(self.split.labels, self.sampling, draws)

    def _read(self, order: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """The pixels of each batch, on the device, with its indices."""
        if self._resident is not None:
            for indices in order:
                yield indices, _resident_rows(self._resident, indices)
            return
        # One batch is read while the last one is worked on; leaving early waits for that one.
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(self._fetch, order[0])
            for place, indices in enumerate(order):
                pixels = coming.result()
                if place + 1 < len(order):
                    coming = reader.submit(self._fetch, order[place + 1])
                yield indices, pixels.to(self.device, non_blocking=True)

    def _fetch(self, indices: Tensor) -> Tensor:
        ascending, place = indices.sort()
        rows = torch.from_numpy(np.asarray(self.split.images[ascending.numpy()]))
        pixels = torch.empty_like(rows).index_copy_(0, place, rows)
        return pixels.pin_memory() if self.device.type == "cuda" else pixels


def _resident_rows(resident: Tensor, indices: Tensor) -> Tensor:
    if resident.device.type != "cpu":
        return resident.index_select(0, indices.to(resident.device, non_blocking=True))
    # numpy copies rows on this thread: a parallel copy of so little waits longer than it works.
    return torch.from_numpy(resident.numpy().take(indices.numpy(), axis=0))


def _resident(images: Pixels, device: torch.device) -> Tensor | None:
    size = int(np.prod(images.shape)) * images.dtype.itemsize
    if size > RESIDENT_BYTES.get(device.type, RESIDENT_BYTES_ELSEWHERE):
        return None
    return torch.tensor(np.asarray(images), device=device)


def _affine(
    images: Pixels, mean: Sequence[float], std: Sequence[float], device: torch.device
) -> tuple[Tensor, Tensor]:
    """``(x / unit − mean) / std = x · scale + shift``, shaped to broadcast over (n, C, ...)."""
    unit = 255.0 if images.dtype == np.uint8 else 1.0
    shape = (1, -1) + (1,) * (len(images.shape) - 2)
    spread = torch.tensor(std, dtype=torch.float64).view(shape)
    shift = -torch.tensor(mean, dtype=torch.float64).view(shape) / spread
    return shift.float().to(device), (1 / (unit * spread)).float().to(device)


def _check(
    images: Pixels,
    batch_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    augmentation: Augmentation | None,
) -> None:
    channels = images.shape[1]
    if batch_size < 1:
        raise RequestError(f"batch_size needs a whole number from 1 up, got {batch_size}")
    if len(mean) != channels or len(std) != channels:
        raise RequestError(
            f"mean and std need one number per channel = {channels}, got {len(mean)} and {len(std)}"
        )
    if min(std) <= 0:
        raise RequestError(f"std needs numbers above 0, got {min(std)}")
    if augmentation is not None and len(images.shape) != 4:
        raise RequestError("augmentation needs images (N, C, H, W), got feature arrays (N, d)")


def _check_sampling(sampling: str, shuffle: bool) -> None:
    if sampling not in SAMPLINGS:
        raise RequestError(f"sampling needs one of {', '.join(SAMPLINGS)}, got {sampling!r}")
    if sampling != "each" and not shuffle:
        raise RequestError(f"sampling {sampling!r} needs shuffle=True, got shuffle=False")


def draw_order(labels: Labels, sampling: str, generator: torch.Generator) -> Tensor:
    """The images of one epoch: (N,). ``"each"`` is a permutation of them all.

    Raises:
        RequestError: an unknown sampling.
    """
    if sampling == "each":
        return torch.randperm(len(labels), generator=generator)
    if sampling not in POWERS:
        raise RequestError(f"sampling needs one of {', '.join(SAMPLINGS)}, got {sampling!r}")
    counts = np.bincount(labels)
    present = np.flatnonzero(counts)
    weights = counts[present] ** POWERS[sampling]
    classes = _draw_classes(weights / weights.sum(), len(labels), generator)
    # A uniform number per draw picks one of the class's images, which lie together once sorted.
    by_class = torch.from_numpy(np.argsort(labels, kind="stable"))
    sizes = torch.from_numpy(counts[present])
    first = torch.cumsum(sizes, 0) - sizes
    within = torch.rand(len(labels), generator=generator, dtype=torch.float64) * sizes[classes]
    return by_class[first[classes] + within.long()]


def _draw_classes(probabilities: Labels, number: int, generator: torch.Generator) -> Tensor:
    # By the cumulative sum: torch.multinomial takes at most 2²⁴ categories, and single precision.
    ends = torch.from_numpy(np.cumsum(probabilities))
    uniform = torch.rand(number, generator=generator, dtype=torch.float64)
    return torch.searchsorted(ends, uniform).clamp_(max=len(ends) - 1)

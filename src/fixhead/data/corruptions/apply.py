"""Corrupting a batch, a whole split as it is read, or one picture to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._errors import RequestError, require
from ..dataset import Pixels, Split, chunks
from ..images import SUFFIXES, decode, read_header
from .filters import Draws
from .kinds import FUNCTIONS
from .tables import kind_named, strength, table_for


@torch.no_grad()
def corrupt(
    images: Tensor,
    kind: str,
    severity: int,
    *,
    indices: Tensor,
    table: int | None = None,
    seed: int = 0,
    frost_dir: Path | None = None,
) -> Tensor:
    """uint8 images (N, C, H, W) → the same, corrupted, on their own device.

    ``indices`` (N,) say which image of its set each one is: its random numbers depend on that, on
    ``kind``, ``severity`` and ``seed``, and on nothing else. ``table`` is 32, 64 or 224 (None: the
    published table nearest to the image size). ``frost_dir`` is for ``frost`` alone.

    Raises:
        RequestError: an unknown kind, severity or table; images that are not uint8 (N, C, H, W).
    """
    name = kind_named(kind)
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise RequestError(
            f"corrupt() needs uint8 images (N, C, H, W), got {images.dtype} of shape "
            f"{tuple(images.shape)}"
        )
    size = min(images.shape[2:])
    values = strength(name, severity, table_for(size) if table is None else table)
    if images.device.type == "mps":  # which has no float64
        return corrupt(
            images.cpu(),
            kind,
            severity,
            indices=indices.cpu(),
            table=table,
            seed=seed,
            frost_dir=frost_dir,
        ).to(images.device)
    draws = Draws(seed, f"{name}/{severity}", indices.to(images.device))
    extra = {"pictures": frost_dir} if name == "frost" else {}
    return FUNCTIONS[name](images, draws, *values, **extra)


class Corrupted:
    """Pixels that are corrupted as they are read, each by its place in ``base``."""

    def __init__(self, base: Pixels, device: torch.device, **how: Any) -> None:
        self.base = base
        self.shape: tuple[int, ...] = base.shape
        self.dtype: np.dtype[Any] = base.dtype
        self._device = device
        self._how = how

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        wanted = np.arange(len(self))[index]
        places = np.atleast_1d(wanted)
        images = torch.tensor(np.asarray(self.base[places]), device=self._device)
        out = corrupt(images, indices=torch.from_numpy(places), **self._how).cpu().numpy()
        return out if np.ndim(wanted) else out[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.concatenate(list(chunks(self))).astype(dtype or np.uint8, copy=False)


def corrupted(
    split: Split,
    kind: str,
    severity: int,
    *,
    table: int | None = None,
    seed: int = 0,
    frost_dir: Path | None = None,
    device: torch.device | str = "cpu",
) -> Split:
    """``split`` with every image corrupted when it is read; labels as they are.

    Raises:
        RequestError: as ``corrupt``, at once.
    """
    strength(kind_named(kind), severity, 32 if table is None else table)
    images = Corrupted(
        split.images,
        torch.device(device),
        kind=kind,
        severity=severity,
        table=table,
        seed=seed,
        frost_dir=frost_dir,
    )
    return Split(images, split.labels)


@dataclass(frozen=True)
class CorruptedPicture:
    """What was written: the corruption with its severity and table, and the picture's size."""

    source: str
    target: str
    kind: str
    severity: int
    table: int
    height: int
    width: int


def corrupt_picture(
    source: Path,
    target: Path,
    *,
    kind: str,
    severity: int,
    table: int | None = None,
    seed: int = 0,
    frost_dir: Path | None = None,
) -> CorruptedPicture:
    """Write ``source`` corrupted to ``target``, as the first image of a set would be.

    Raises:
        RequestError: an unreadable picture, a target that exists already, cannot be written or has
            no image's suffix, or a corruption that cannot be had.
    """
    name = kind_named(kind)
    if target.suffix.lower() not in SUFFIXES:
        raise RequestError(f"the picture to write needs a name like out.png, got {target}")
    if target.exists():
        raise RequestError(f"{target} exists already; choose another name")
    header = read_header(source, str(source))
    pixels = torch.from_numpy(decode(source, str(source), channels=header.channels).copy())
    used = table_for(min(header.size)) if table is None else table
    out = corrupt(
        pixels[None],
        name,
        severity,
        indices=torch.zeros(1, dtype=torch.long),
        table=used,
        seed=seed,
        frost_dir=frost_dir,
    )[0]
    array = out[0].numpy() if header.channels == 1 else out.permute(1, 2, 0).numpy()
    try:
        require("PIL.Image", extra="lab").fromarray(array).save(target)
    except OSError as error:
        raise RequestError(f"{target} cannot be written ({error})") from error
    return CorruptedPicture(
        str(source), str(target), name, severity, used, header.height, header.width
    )

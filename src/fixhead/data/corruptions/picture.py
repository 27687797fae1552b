"""One picture corrupted, to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..._errors import RequestError, require
from ..images import SUFFIXES, decode, read_header
from .apply import corrupt
from .tables import kind_named, table_for


@dataclass(frozen=True)
class Picture:
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
) -> Picture:
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
    return Picture(str(source), str(target), name, severity, used, header.height, header.width)

"""WebDataset shards: uncompressed tar files of ``KEY.jpg`` and ``KEY.cls`` (or ``KEY.json``).

``DIR/train-000000.tar …`` with ``DIR/test-….tar`` or ``val-….tar``, optionally ``DIR/classes.txt``
(one name per line). The members are indexed once and then read where they lie: any order costs one
read per image, nothing is unpacked, and memory does not grow with the set.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..._errors import RequestError
from ..cache import LoadedData
from ..encoded import Encoded, EncodedPart
from ..images import SUFFIXES
from .reading import numbered, read_lines
from .request import DataRequest

TEST_NAMES = ("test", "validation", "valid", "val")
LABEL_LIMIT = 1 << 20


@dataclass(frozen=True)
class Member:
    """One image inside a shard: where its bytes are."""

    name: str
    offset: int
    size: int
    shard: int


class ShardImages:
    """Images inside tar files, read by position."""

    def __init__(self, shards: Sequence[Path], members: Sequence[Member]) -> None:
        self._shards = shards
        self._members = members

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, index: int) -> Encoded:
        member = self._members[index]
        path = self._shards[member.shard]
        with path.open("rb", buffering=0) as file:
            file.seek(member.offset)
            return Encoded(f"{member.name} in {path.name}", file.read(member.size))


def load_shards(root: Path, request: DataRequest) -> LoadedData:
    """The shards below ``root``; streamed unless ``stream=False`` asks for the cache.

    Raises:
        RequestError: no ``image_size``, no or broken shards, an image without a label, labels out
            of the range that ``classes.txt`` gives.
    """
    train, test = _by_part(sorted(root.glob("*.tar")), root)
    parts = [_indexed(shards) for shards in (train, test) if shards]
    names = _names(root, parts)
    stream = True if request.stream is None else request.stream
    return replace(request, stream=stream).open(
        request.fingerprint([*train, *test]),
        names,
        parts[0],
        parts[1] if test else None,
        channels=3,
    )


def _by_part(shards: list[Path], root: Path) -> tuple[list[Path], list[Path]]:
    tests = [path for path in shards if path.name.startswith(TEST_NAMES)]
    train = [path for path in shards if path not in tests]
    if not train:
        raise RequestError(f"{root} needs training shards (train-000000.tar …), got none")
    return train, tests


def _indexed(shards: list[Path]) -> EncodedPart:
    members: list[Member] = []
    labels: list[int] = []
    for number, path in enumerate(shards):
        images, found = _shard(path, number)
        missing = next((key for key in images if key not in found), None)
        if missing is not None:
            raise RequestError(f"{path} needs a label {missing}.cls (or .json), and lacks it")
        members += images.values()
        labels += [found[key] for key in images]
    return EncodedPart(ShardImages(shards, members), np.asarray(labels, dtype=np.int64))


def _shard(path: Path, number: int) -> tuple[dict[str, Member], dict[str, int]]:
    images: dict[str, Member] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if not member.isfile():
                    continue  # links and folders hold no bytes of their own
                key, suffix = _key(member.name)
                if suffix in SUFFIXES:
                    images[key] = Member(member.name, member.offset_data, member.size, number)
                elif suffix in (".cls", ".json"):
                    labels[key] = _label(archive, member, path)
            _whole(path, images)
    except (tarfile.TarError, OSError, OverflowError) as error:
        raise RequestError(f"{path} is not a whole, uncompressed tar file ({error})") from error
    return images, labels


def _whole(path: Path, images: dict[str, Member]) -> None:
    end = max((member.offset + member.size for member in images.values()), default=0)
    if path.stat().st_size < end:
        raise RequestError(f"{path} is cut off: its last image needs {end} bytes")


def _key(name: str) -> tuple[str, str]:
    """``("dir/0001", ".jpg")`` of ``dir/0001.jpg``: the key ends at the first dot of the name."""
    folder, _, file = name.rpartition("/")
    stem, dot, suffix = file.partition(".")
    return f"{folder}/{stem}", f"{dot}{suffix.lower()}"


def _label(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> int:
    file = archive.extractfile(member)
    text = b"" if file is None or member.size > LABEL_LIMIT else file.read()
    try:
        value: Any = json.loads(text)
        if isinstance(value, dict):
            value = value["label"] if "label" in value else value["cls"]
    except (ValueError, KeyError, RecursionError) as error:
        raise RequestError(f"{member.name} in {path.name} needs a whole number") from error
    if isinstance(value, list):
        raise RequestError(
            f"{member.name} in {path.name} is a list: multi-label targets are not supported; keep "
            "one class per image"
        )
    if not isinstance(value, int) or isinstance(value, bool):
        raise RequestError(f"{member.name} in {path.name} needs a whole number, got {value!r}")
    if not -(1 << 63) <= value < 1 << 63:
        raise RequestError(f"{member.name} in {path.name} needs a label of a class, got {value}")
    return value


def _names(root: Path, parts: list[EncodedPart]) -> tuple[str, ...]:
    path = root / "classes.txt"
    if path.is_file():
        return tuple(read_lines(path))
    highest = max((int(part.labels.max()) for part in parts if len(part.labels)), default=-1)
    return numbered(highest)

"""WebDataset shards: uncompressed tar files of ``KEY.jpg`` and ``KEY.cls`` (or ``KEY.json``).

A label is a whole number (leading zeros are allowed) or a word.

``DIR/train-000000.tar …`` with ``DIR/test-….tar`` or ``val-….tar``, optionally ``DIR/classes.txt``
(one name per line). The members are indexed once and then read where they lie: any order costs one
read per image, nothing is unpacked, and memory does not grow with the set.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..._errors import RequestError
from ..cache import LoadedData
from ..encoded import Encoded, EncodedPart
from ..images import SUFFIXES
from .files import as_text, is_left_over, read_lines
from .labels import labelled_test, number_labels, parts_of_files
from .request import DataRequest

LABEL_LIMIT = 1 << 20
Label = int | str


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

    def name(self, index: int) -> str:
        return self._members[index].name


def find_shards(root: Path) -> list[Path]:
    """The tar files in a folder, in order."""
    return [path for path in sorted(root.glob("*.tar")) if not is_left_over(path.name)]


def load_shards(root: Path, request: DataRequest) -> LoadedData:
    """The shards below ``root``; streamed unless ``stream=False`` asks for the cache.

    Raises:
        RequestError: no ``image_size``, no or broken shards, an image without a label, labels out
            of the range that ``classes.txt`` gives.
    """
    parts, chosen, notes_on_files = parts_of_files(find_shards(root), request.reading, str(root))
    assert chosen.train is not None
    found = {chosen.train: _indexed(parts[chosen.train])}

    def labels_of(part: str) -> list[Label]:
        found[part] = _indexed(parts[part])
        return found[part][1]

    test, _, notes_on_parts = labelled_test(chosen, labels_of, request.reading, str(root))
    used = {"train": chosen.train} if test is None else {"train": chosen.train, "test": test}
    path = root / "classes.txt"
    names = tuple(read_lines(path)) if path.is_file() else None
    labelled = number_labels({part: found[one][1] for part, one in used.items()}, names, str(root))
    encoded = {
        part: EncodedPart(ShardImages(parts[one], found[one][0]), labelled.labels[part])
        for part, one in used.items()
    }
    stream = True if request.stream is None else request.stream
    return replace(request, stream=stream).open(
        request.fingerprint([shard for one in used.values() for shard in parts[one]]),
        labelled.classes,
        encoded["train"],
        encoded.get("test"),
        notes=(*notes_on_files, *notes_on_parts, *labelled.notes),
        channels=3,
    )


def _indexed(shards: list[Path]) -> tuple[list[Member], list[Label]]:
    members: list[Member] = []
    labels: list[Label] = []
    for number, path in enumerate(shards):
        images, found = _shard(path, number)
        for key, member in images.items():
            if key in found:
                members.append(member)
                labels.append(found[key])
            elif _first_dot(key) not in found:
                raise RequestError(f"{path} needs a label {key}.cls (or .json), and lacks it")
            # Otherwise another file of a sample (0001.mask.png beside 0001.jpg and 0001.cls).
    return members, labels


def _shard(path: Path, number: int) -> tuple[dict[str, Member], dict[str, Label]]:
    images: dict[str, Member] = {}
    labels: dict[str, Label] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if not member.isfile() or any(map(is_left_over, member.name.split("/"))):
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
    """``("dir/a.b", ".jpg")`` of ``dir/a.b.jpg``: keys may have dots of their own."""
    folder, _, file = name.rpartition("/")
    stem, dot, suffix = file.rpartition(".")
    return f"{folder}/{stem}", f"{dot}{suffix.lower()}"


def _first_dot(key: str) -> str:
    folder, _, stem = key.rpartition("/")
    return f"{folder}/{stem.partition('.')[0]}"


def _label(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> Label:
    """A whole number or a word; in JSON also the field ``label`` or ``cls`` of a dict."""
    file = archive.extractfile(member)
    content = b"" if file is None or member.size > LABEL_LIMIT else file.read()
    name = f"{member.name} in {path.name}"
    text = as_text(content, name).strip()
    value: Any = text
    if member.name.lower().endswith(".json") or text[:1] in ("[", "{", '"'):
        try:
            value = json.loads(text)
            if isinstance(value, dict):
                value = value["label"] if "label" in value else value["cls"]
        except (ValueError, KeyError, RecursionError) as error:
            raise RequestError(f"{name} needs a whole number or a word") from error
    if isinstance(value, str):
        value = int(value) if re.fullmatch(r"-?\d{1,100}", value) else value
    if isinstance(value, list):
        raise RequestError(
            f"{name} is a list: multi-label targets are not supported; keep one class per image"
        )
    if not isinstance(value, int | str) or isinstance(value, bool) or value == "":
        raise RequestError(f"{name} needs a whole number or a word, got {value!r}")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise RequestError(f"{name} needs a label of a class, got {value}")
    return value

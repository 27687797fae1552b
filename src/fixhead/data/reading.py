"""What a person says of how data are to be read: columns, parts, class order, groups, bad images,
long tails.

Imports neither numpy nor torch, so that nonsense is refused at once.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .._errors import RequestError

ORDERS = ("sorted", "natural")


@dataclass(frozen=True)
class Reading:
    """How a data set is read, where its own layout does not say or says otherwise.

    ``image_column`` and ``label_column`` name columns of tables; ``train_part`` and ``test_part``
    the parts (folders, splits, beginnings of file names) to train and to test on.
    ``class_order`` is ``"sorted"``, ``"natural"`` (1, 2, 10: as timm orders folders) or a file with
    a class a line. ``class_map`` is a file that names classes, or places them in a larger model's
    (see ``read_class_map``). ``keep_together`` names groups of images that validation must not cut:
    a pattern for their file names, or a file with an image and its group a line.
    ``skip_unreadable`` goes on without broken images; ``max_pixels`` allows larger ones.

    Raises:
        RequestError: a pattern that is none, or a number of pixels below 1.
    """

    image_column: str | None = None
    label_column: str | None = None
    train_part: str | None = None
    test_part: str | None = None
    class_order: str | None = None
    class_map: str | None = None
    keep_together: str | None = None
    skip_unreadable: bool = False
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        if self.max_pixels is not None and self.max_pixels < 1:
            raise RequestError(f"--max-pixels must be 1 or more, got {self.max_pixels}")
        if self.keep_together is not None and not Path(self.keep_together).is_file():
            _pattern(self.keep_together)

    def chosen(self) -> dict[str, Any]:
        """What differs from the defaults, in plain JSON types."""
        return {name: value for name, value in asdict(self).items() if value not in (None, False)}

    def grouping(self) -> Callable[[str], str] | None:
        """The group of an image by its name; an image alone is its own group."""
        if self.keep_together is None:
            return None
        path = Path(self.keep_together)
        return _by_list(path) if path.is_file() else _by_pattern(_pattern(self.keep_together))


TAILS = ("exp", "step", "geometric")
"""Rules for a long tail that take a number; ``counts`` takes a file."""
TAIL_ORDERS = ("index", "reversed", "size", "shuffled")


def read_long_tail(text: str) -> tuple[str, str, str]:
    """``"exp:0.01,order=size"`` → rule, value and order (``""`` where none is said).

    Raises:
        RequestError: another rule, a number that is none or out of range, or an unknown order.
    """
    rule, _, order = text.partition(",order=")
    kind, _, value = rule.partition(":")
    if kind not in (*TAILS, "counts") or not value:
        raise RequestError(
            f"imbalance needs {', '.join(f'{name}:NUMBER' for name in TAILS)} or counts:FILE, "
            f"got {text!r}"
        )
    if not re.fullmatch(r"|index|reversed|size|shuffled(:\d+)?", order):
        raise RequestError(f"imbalance order needs one of {', '.join(TAIL_ORDERS)}, got {order!r}")
    if kind != "counts":
        tail_number(kind, value)
    return kind, value, order


def tail_number(kind: str, value: str) -> float:
    """The number of a rule.

    Raises:
        RequestError: no number in (0, 1], or for ``geometric`` in (0, 1).
    """
    high = 1.0 if kind != "geometric" else math.nextafter(1.0, 0.0)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number <= high:
        raise RequestError(f"imbalance {kind} needs a number between 0 and 1, got {value!r}")
    return number


class MappedClass(NamedTuple):
    """One line of a class map: its place among a model's classes, what data call it, its name."""

    place: int | None
    keys: tuple[str, ...]
    name: str


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """1, 2, 10 instead of 1, 10, 2, whatever the case: the order of timm's folders."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def read_class_map(path: Path) -> list[MappedClass]:
    """The classes of a map, in the order of their indices where it has any.

    JSON: ``{"0": "cat"}``, ``{"0": ["n02123045", "tabby"]}``, ``{"n02123045": "tabby"}``,
    ``{"cat": 0}`` or ``["cat", "dog"]``. Text, a class a line: ``0,cat``, ``n02123045 tabby``,
    ``cat,0``, ``0,n02123045,tabby``, or only ``n02123045`` (its line is its index).

    Raises:
        RequestError: a file that cannot be read or holds no map, or indices that leave gaps.
    """
    text = read_text(path, "--class-map").strip()
    if not text:
        raise RequestError(f"--class-map {path} needs at least one class, and is empty")
    entries = _from_json(text, path) if text[0] in "[{" else _from_lines(text)
    numbered = sorted((entry for entry in entries if entry.place is not None), key=_place)
    if not numbered:
        return entries
    if [entry.place for entry in numbered] != list(range(len(entries))):
        raise RequestError(
            f"--class-map {path} needs the indices 0 to {len(entries) - 1}, each once, got "
            f"{numbered[0].place} to {numbered[-1].place} in {len(entries)} lines"
        )
    return numbered


def read_class_order(path: Path) -> list[str]:
    """The classes of a file, one a line.

    Raises:
        RequestError: it cannot be read.
    """
    lines = [line.strip() for line in read_text(path, "--class-order").splitlines()]
    return [line for line in lines if line]


def read_text(path: Path, option: str) -> str:
    """UTF-8 text, with or without a byte-order mark.

    Raises:
        RequestError: naming the option and the file.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{option} {path} cannot be read as UTF-8 text ({error})") from error


def _place(entry: MappedClass) -> int:
    return -1 if entry.place is None else entry.place


def _from_json(text: str, path: Path) -> list[MappedClass]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise RequestError(f"--class-map {path} needs whole JSON, got {error}") from error
    if isinstance(found, list):
        return [MappedClass(number, (str(name),), str(name)) for number, name in enumerate(found)]
    return [_from_pair(str(key), value, path) for key, value in found.items()]


def _from_pair(key: str, value: Any, path: Path) -> MappedClass:
    index = int(key) if key.isdecimal() else None
    if isinstance(value, int) and not isinstance(value, bool):
        return MappedClass(value, (key,), key)
    names = [str(one) for one in value] if isinstance(value, list) else [str(value)]
    if not names or isinstance(value, dict):
        raise RequestError(f"--class-map {path} needs a name or an index for {key!r}")
    return MappedClass(index, (key, *names), names[-1])


def _from_lines(text: str) -> list[MappedClass]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    rows = [_fields(line) for line in lines]
    if all(len(row) == 1 for row in rows):
        return [MappedClass(number, (row[0],), row[0]) for number, row in enumerate(rows)]
    entries = []
    for row in rows:
        if row[0].isdecimal():
            entries.append(MappedClass(int(row[0]), tuple(row), row[-1]))
        elif row[-1].isdecimal() and len(row) == 2:
            entries.append(MappedClass(int(row[1]), (row[0],), row[0]))
        else:
            entries.append(MappedClass(None, tuple(row), row[-1]))
    return entries


def _fields(line: str) -> list[str]:
    """By tabs, by commas, or the first word and the rest (``n01440764 tench, Tinca tinca``)."""
    if "\t" in line:
        return [part.strip() for part in line.split("\t") if part.strip()]
    first, _, rest = line.partition(" ")
    if rest and re.fullmatch(r"n\d{8}|\d+", first):
        return [first, rest.strip()]
    return [part.strip() for part in next(csv.reader([line])) if part.strip()]


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise RequestError(
            f"--keep-together needs a file, or a regular expression for file names, got {text!r} "
            f"({error})"
        ) from error


def _by_pattern(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def group(name: str) -> str:
        hit = pattern.search(name)
        if hit is None:
            return name
        return "\0".join(part or "" for part in hit.groups()) if hit.groups() else hit.group()

    return group


def _by_list(path: Path) -> Callable[[str], str]:
    rows = [_fields(line) for line in read_text(path, "--keep-together").splitlines() if line]
    groups = {row[0]: row[1] for row in rows if len(row) > 1}
    if not groups:
        raise RequestError(f"--keep-together {path} needs lines of an image and its group")

    def group(name: str) -> str:
        return next((groups[form] for form in _endings(name) if form in groups), name)

    return group


def _endings(name: str) -> Sequence[str]:
    """``a/b/c.png`` → itself, ``b/c.png``, ``c.png``, ``c``."""
    parts = name.replace("\\", "/").split("/")
    forms = ["/".join(parts[start:]) for start in range(len(parts))]
    return [*forms, parts[-1].rpartition(".")[0]]

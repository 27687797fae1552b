"""Which part a name means, and which classes the labels make: one rule for every reader.

Parts are known whatever their case and prefix: ``Training``, ``test_set``, ``seg_train``, ``VAL``.
A part that is tested on is called test or, where there is none, validation.

Labels may be words, whole numbers, booleans, bytes or dates. Where the data names its classes,
whole numbers from 0 up are places in that list. Where it does not, the classes are the different
labels of the training part, in their order, each named by itself; numbers that are not 0 … K − 1
are numbered anew, and that is said. A label in the test part that training lacks is refused; a
class that the test part lacks is said.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..._errors import RequestError
from ..dataset import Labels
from ..reading import ORDERS, Reading, natural_key, read_class_map, read_class_order

PART_WORDS = {
    "train": ("train", "training", "trn"),
    "test": ("test", "testing", "tst"),
    "validation": ("validation", "valid", "val", "dev", "eval", "evaluation"),
}
MOST_NUMBERED = 1 << 24
"""A number from here up is a broken label, where the data names no classes."""

HIDDEN = (-1, None, "", "-1")
"""What stands for a label that is kept secret, as in the test parts of competitions."""


class LabelledParts(NamedTuple):
    """Class names, the labels (N,) of each part, and what should be known about them."""

    classes: tuple[str, ...]
    labels: dict[str, Labels]
    notes: tuple[str, ...]


class ChosenParts(NamedTuple):
    """The name that is trained on, and those that may be tested on, the best one first."""

    train: str | None
    tests: tuple[str, ...]


def part_of(name: str) -> str | None:
    """``"train"``, ``"test"`` or ``"validation"``, if the words of ``name`` mean exactly one."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    meant = {part for part, known in PART_WORDS.items() for word in words if word in known}
    return meant.pop() if len(meant) == 1 else None


def parts_of_files(
    files: Sequence[Path], reading: Reading, where: str
) -> tuple[dict[str, list[Path]], ChosenParts, tuple[str, ...]]:
    """Files by the part that their names mean (``train-00000-of-00003.tar``), the parts to train
    and to test on, and notes. Where no name means training, those that mean nothing do.

    Raises:
        RequestError: only parts for testing, or a part that was asked for and is not there.
    """
    asked = [name.casefold() for name in (reading.train_part, reading.test_part) if name]
    parts: dict[str, list[Path]] = {}
    for file in sorted(files):
        name = re.sub(r"([-_]?\d+)?([-_]of[-_]?\d+)?$", "", file.name.split(".")[0], count=1)
        if name.casefold() not in asked:
            name = part_of(re.split(r"[-_.]", file.name, maxsplit=1)[0]) or part_of(name) or name
        parts.setdefault(name, []).append(file)
    chosen = choose_parts(list(parts), reading, where)
    unnamed = [name for name in parts if part_of(name) is None and name not in chosen.tests]
    if chosen.train is None and unnamed:
        parts["train"] = sorted(file for name in unnamed for file in parts.pop(name))
        return parts, ChosenParts("train", chosen.tests), ()
    if chosen.train is None:
        raise no_training_part(where, list(parts))
    over = [file.name for name in unnamed if name != chosen.train for file in parts[name]]
    if not over:
        return parts, chosen, ()
    more = ", ..." if len(over) > 3 else ""
    note = f"passed over {len(over)} files whose names mean no part ({', '.join(over[:3])}{more})"
    return parts, chosen, (note,)


def choose_parts(names: Sequence[str], reading: Reading, where: str) -> ChosenParts:
    """Which of the named parts is for training, and which are for testing.

    Raises:
        RequestError: two names for one part, or a part that was asked for and is not there.
    """
    meant = {part: [name for name in names if part_of(name) == part] for part in PART_WORDS}
    train = _asked_for(reading.train_part, "--train-part", names, where)
    test = _asked_for(reading.test_part, "--test-part", names, where)
    if train is None:
        candidates = [name for name in meant["train"] if name != test]
        if len(candidates) > 1:
            raise _two_parts(where, "training", candidates, "--train-part")
        train = candidates[0] if candidates else None
    if test is not None:
        return ChosenParts(train, (test,))
    for part in ("test", "validation"):
        candidates = [name for name in meant[part] if name != train]
        if len(candidates) > 1 and not (part == "validation" and meant["test"]):
            raise _two_parts(where, part, candidates, "--test-part")
    tests = [*meant["test"], *meant["validation"]]
    return ChosenParts(train, tuple(name for name in tests if name != train))


def no_training_part(where: str, names: Sequence[str]) -> RequestError:
    """What to say where parts are named and none of them is for training."""
    listed = " and ".join(names[:4])
    return RequestError(
        f"{where} needs a part for training, got only {listed}; name the part to train on with "
        f"--train-part, e.g. --train-part {names[0]}"
    )


def hidden(values: Sequence[Any]) -> bool:
    """Whether every label of a part is kept secret (−1, or nothing)."""
    return len(values) > 0 and all(
        value is None or (isinstance(value, str | int) and value in HIDDEN) for value in values
    )


def hidden_note(name: str, instead: str | None) -> str:
    """The note on a part whose labels are all hidden."""
    rest = "" if instead is None else f"; {instead} serves as the test set"
    return f"passed over {name}, whose labels are all hidden (-1){rest}"


def labelled_test(
    chosen: ChosenParts, labels_of: Callable[[str], Sequence[Any]], reading: Reading, where: str
) -> tuple[str | None, Sequence[Any], tuple[str, ...]]:
    """The first part to test on whose labels are not hidden, its labels, and notes on the others.

    Raises:
        RequestError: the part that was asked for has hidden labels only.
    """
    notes: list[str] = []
    for place, name in enumerate(chosen.tests):
        labels = labels_of(name)
        if not hidden(labels):
            notes += [f"the part {other} is not used" for other in chosen.tests[place + 1 :]]
            return name, labels, tuple(notes)
        if reading.test_part is not None:
            raise RequestError(f"--test-part {name} of {where} has hidden labels (-1) only")
        notes.append(hidden_note(name, next(iter(chosen.tests[place + 1 :]), None)))
    return None, (), tuple(notes)


def number_labels(
    values: Mapping[str, Sequence[Any]], names: tuple[str, ...] | None, where: str
) -> LabelledParts:
    """The classes that the labels of the parts ``"train"`` and ``"test"`` make.

    ``names`` are the classes where the data names them; labels are then places in that list, or
    names out of it.

    Raises:
        RequestError: a label of a type that names no class, one that is missing or out of range,
            or one in the test part that the training part lacks.
    """
    plain = {
        part: [
            _plain(value, row, part, where, place=names is not None)
            for row, value in enumerate(labels)
        ]
        for part, labels in values.items()
    }
    if names is not None:
        found = {
            part: np.asarray(_in_list(labels, names, part, where), dtype=np.int64)
            for part, labels in plain.items()
        }
        return LabelledParts(names, found, ())
    _refuse_mixed([value for labels in plain.values() for value in labels], where)
    known = sorted(set(plain["train"]))
    _refuse_unknown(plain, known, where)
    index = {value: number for number, value in enumerate(known)}
    numbered = {
        part: np.asarray([index[value] for value in labels], dtype=np.int64)
        for part, labels in plain.items()
    }
    return LabelledParts(tuple(map(str, known)), numbered, _numbering_note(known))


def arrange_classes(
    classes: tuple[str, ...], reading: Reading
) -> tuple[tuple[str, ...], Labels, tuple[str, ...]]:
    """The classes as ``class_map`` names and places them and ``class_order`` orders them, the new
    number of each old one (K,), and notes.

    Raises:
        RequestError: a class that the map or the order lacks, or an order with other classes.
    """
    places = np.arange(len(classes))
    notes: tuple[str, ...] = ()
    if reading.class_map is not None:
        classes, places, notes = _mapped(classes, Path(reading.class_map))
    if reading.class_order is None:
        return classes, places, notes
    order = _ordered(classes, reading.class_order)
    moved = {name: number for number, name in enumerate(order)}
    return tuple(order), np.asarray([moved[name] for name in classes])[places], notes


def _mapped(
    classes: tuple[str, ...], path: Path
) -> tuple[tuple[str, ...], Labels, tuple[str, ...]]:
    entries = read_class_map(path)
    index: dict[str, int] = {}
    for number, entry in enumerate(entries):
        for key in (*entry.keys, entry.name):
            index.setdefault(key, number)
    strange = [name for name in classes if name not in index]
    if strange:
        raise RequestError(
            f"--class-map {path} needs every class of the data, and lacks {', '.join(strange[:3])}"
        )
    found = [index[name] for name in classes]
    if len(set(found)) < len(found):
        raise RequestError(f"--class-map {path} has one line for two classes of the data")
    if entries[0].place is None:  # names alone: the order stays
        return tuple(entries[number].name for number in found), np.arange(len(classes)), ()
    notes: tuple[str, ...] = ()
    if len(entries) > len(classes):
        notes = (f"{len(classes)} of the {len(entries)} classes of {path.name}",)
    names = [entry.name for entry in entries]
    told_apart = tuple(  # ImageNet has two kinds of crane
        entry.name if names.count(entry.name) == 1 else f"{entry.name} ({entry.keys[-2:][0]})"
        for entry in entries
    )
    return told_apart, np.asarray(found), notes


def _ordered(classes: tuple[str, ...], order: str) -> list[str]:
    if order == "sorted":
        return sorted(classes)
    if order == "natural":
        return sorted(classes, key=natural_key)
    if not Path(order).is_file():
        raise RequestError(
            f"--class-order must be {', '.join(ORDERS)} or a file with a class a line, got "
            f"{order!r}"
        )
    listed = read_class_order(Path(order))
    if sorted(listed) != sorted(classes):
        differing = sorted(set(listed) ^ set(classes)) or ["a class twice"]
        raise RequestError(
            f"--class-order {order} needs the {len(classes)} classes of the data, each once, and "
            f"differs in {', '.join(differing[:3])}"
        )
    return listed


def _asked_for(wanted: str | None, option: str, names: Sequence[str], where: str) -> str | None:
    if wanted is None or wanted in names:
        return wanted
    alike = [name for name in names if name.casefold() == wanted.casefold()]
    if len(alike) == 1:
        return alike[0]
    raise RequestError(
        f"{option} {wanted} is not in {where}, which has {', '.join(sorted(names)) or 'no parts'}"
    )


def _two_parts(where: str, part: str, names: Sequence[str], option: str) -> RequestError:
    return RequestError(
        f"{where} needs one {part} part, got {' and '.join(names)}; say which with {option}"
    )


def _plain(value: Any, row: int, part: str, where: str, *, place: bool) -> int | str:
    """A label as a whole number or a word; a boolean is a ``place`` in a list of two, or a word."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return int(value) if place else str(value)
    if isinstance(value, int | str):
        return value
    if isinstance(value, float | Decimal) and float(value).is_integer():
        return int(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    what = f"label {value!r} in row {row} of the {part} part of {where}"
    if value is None:
        raise RequestError(f"{what} is missing; remove that row, or label it")
    if isinstance(value, list | tuple | set | dict | np.ndarray):
        raise RequestError(
            f"{what} is a {type(value).__name__}: multi-label targets are not supported; keep one "
            "class per image, or name another column with --label-column"
        )
    raise RequestError(
        f"{what} is a {type(value).__name__}, which names no class; labels need to be words, whole "
        "numbers, booleans, bytes or dates"
    )


def _in_list(
    labels: Sequence[int | str], names: tuple[str, ...], part: str, where: str
) -> list[int]:
    index: dict[int | str, int] = {name: number for number, name in enumerate(names)}
    index |= {number: number for number in range(len(names))}
    for row, value in enumerate(labels):
        if value not in index:
            raise RequestError(
                f"label {value!r} in row {row} of the {part} part of {where} needs to be one of "
                f"the {len(names)} classes that the data names (0 to {len(names) - 1}, or "
                f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            )
    return [index[value] for value in labels]


def _refuse_mixed(labels: Sequence[int | str], where: str) -> None:
    words = [value for value in labels if isinstance(value, str)]
    counted = [value for value in labels if isinstance(value, int)]
    if words and counted:
        raise RequestError(
            f"the labels of {where} need to be all words or all whole numbers, got {words[0]!r} "
            f"and {counted[0]}"
        )
    if counted and max(counted) >= MOST_NUMBERED:
        raise RequestError(
            f"labels need to be below {MOST_NUMBERED} where the data names no classes, got "
            f"{max(counted)}"
        )


def _refuse_unknown(
    labels: Mapping[str, Sequence[int | str]], known: Sequence[int | str], where: str
) -> None:
    hidden_labels = [value for value in known if value == -1]
    if hidden_labels:
        raise RequestError(
            f"label -1 in the training part of {where} stands for a hidden label; remove those rows"
        )
    strange = sorted(set(labels.get("test", ())) - set(known), key=str)
    if strange:
        listed = ", ".join(map(repr, strange[:3])) + (", ..." if len(strange) > 3 else "")
        raise RequestError(
            f"the test part of {where} needs classes that the training part has "
            f"({', '.join(map(str, known[:3]))}{', ...' if len(known) > 3 else ''}), got {listed}"
        )


def _numbering_note(known: Sequence[int | str]) -> tuple[str, ...]:
    if not known or isinstance(known[0], str) or list(known) == list(range(len(known))):
        return ()
    gaps = (
        ""
        if list(known) == list(range(int(known[0]), int(known[0]) + len(known)))
        else (", with gaps")
    )
    return (
        f"the labels are {known[0]} to {known[-1]}{gaps}: classes are numbered 0 to "
        f"{len(known) - 1} here, and named by their labels",
    )

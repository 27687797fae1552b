"""Records: what a run's holds; and files of them, whole after a kill or a full disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from .._errors import RequestError
from .._files import replace_text

Record = dict[str, Any]
"""One JSON object: a finished run, an epoch, a measure."""


@dataclass(frozen=True)
class TrainingFigures:
    """What every finished run's record holds of its training."""

    trainable_parameters: int
    head_parameters: int
    head_bytes: int
    epochs: int
    best_epoch: int
    val_accuracy: float | None
    train_seconds: float
    images_per_second: float


@dataclass(frozen=True)
class FiguresOnTest:
    """What it holds of the test set besides, unless the run only chose a learning rate."""

    test_accuracy: float
    test_loss: float
    balanced_accuracy: float
    macro_f1: float
    per_class_accuracy: list[float | None]
    last_epoch_accuracy: float
    geometry: Record


def finished_run(
    identity: Record, *figures: TrainingFigures | FiguresOnTest | Record, peak_memory: int | None
) -> Record:
    """The record of a run that came to its end; ``identity`` says which run it was, and where."""
    facts = [one if isinstance(one, dict) else vars(one) for one in figures]
    record = identity | {"status": "done", "error": None}
    for one in facts:
        record |= one
    return record | {"peak_memory_bytes": peak_memory}


def failed_run(identity: Record, error: str) -> Record:
    """The record of a run that broke: every figure of a finished one is there, and is None."""
    names = [one.name for kind in (TrainingFigures, FiguresOnTest) for one in fields(kind)]
    blank = dict.fromkeys([*names, "peak_memory_bytes"])
    return identity | {"status": "failed", "error": error} | blank


def dumps(value: object, *, indent: int | None = None) -> str:
    """Strict JSON: NaN and infinity are refused, so that any reader can read it."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, indent=indent)


def append(path: Path, record: Mapping[str, Any], *, sync: bool = True) -> None:
    """Append one record as a line and, with ``sync``, wait until it is on disk.

    Where that fails (a full disk), the file is cut back to the records it held before.
    """
    line = (dumps(record) + "\n").encode()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        end = os.lseek(handle, 0, os.SEEK_END)
        try:
            _write_all(handle, line)
            if sync:
                os.fsync(handle)
        except BaseException:
            os.ftruncate(handle, end)
            raise
    finally:
        os.close(handle)


def rewrite(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Put exactly these records in place of the file's."""
    replace_text(path, "".join(dumps(record) + "\n" for record in records))


def read(path: Path) -> list[Record]:
    """All whole records of a file; a last line cut off by a kill is not one of them.

    Raises:
        RequestError: a line before the last is no JSON object; the line is named.
    """
    return read_from(path)[0]


def read_from(path: Path, start: int = 0, known: int = 0) -> tuple[list[Record], int]:
    """The whole records after the first ``known``, which end at byte ``start``; and their end.

    Raises:
        RequestError: a line before the last is no JSON object; the line is named.
    """
    if not path.exists():
        return [], start
    with path.open("rb") as file:
        file.seek(start)
        lines = file.readlines()
    rows: list[Record] = []
    for line in lines:
        if not line.endswith(b"\n"):
            break  # cut off by a kill, even where what is left happens to be JSON
        try:
            record = _loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise RequestError(
                f"{path} must hold one JSON object per line, got something else in line "
                f"{known + len(rows) + 1}; move the file away, or mend that line"
            )
        rows.append(record)
        start += len(line)
    return rows, start


def latest(records: Iterable[Record]) -> list[Record]:
    """The last record of every run: one that was recorded again counts once, in its first place."""
    return list({record.get("run_id"): record for record in records}.values())


def repair(path: Path) -> bool:
    """Cut off a last line that a kill left unfinished; say whether there was one."""
    if not path.exists():
        return False
    _, end = read_from(path)
    if end == path.stat().st_size:
        return False
    os.truncate(path, end)
    return True


def read_json(path: Path, schema: str, *, missing: str) -> Record:
    """The one record of a file, which must say ``schema``.

    Raises:
        RequestError: there is no such file (the message is ``missing``), it cannot be read, or it
            is of another schema.
    """
    try:
        record = _loads(path.read_bytes())
    except FileNotFoundError:
        raise RequestError(missing) from None
    except (OSError, ValueError) as error:
        raise RequestError(f"cannot read {path}: {error}") from None
    if not isinstance(record, dict) or record.get("schema") != schema:
        raise RequestError(
            f"{path} was needed with schema {schema!r}, got something else; name another folder"
        )
    return record


def write_json(path: Path, record: Mapping[str, Any], *, indent: int = 2) -> None:
    """Put one record in place of the file's, whole or not at all."""
    replace_text(path, dumps(record, indent=indent) + "\n")


def _loads(text: bytes) -> Any:
    """Strict JSON again: a NaN or an infinity was not written by ``dumps``."""
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]

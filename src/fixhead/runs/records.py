"""Records on disk: appended whole or not at all, and still readable after a kill or a full disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from .._errors import RequestError
from .._files import replace_text

Record = dict[str, Any]
"""One JSON object: a finished run, an epoch, a measure."""


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
    return [record for record, _ in _whole_lines(path)]


def latest(records: Iterable[Record]) -> list[Record]:
    """The last record of every run: one that was recorded again counts once, in its first place."""
    return list({record.get("run_id"): record for record in records}.values())


def repair(path: Path) -> bool:
    """Cut off a last line that a kill left unfinished; say whether there was one."""
    if not path.exists():
        return False
    end = max((stop for _, stop in _whole_lines(path)), default=0)
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


def _whole_lines(path: Path) -> list[tuple[Record, int]]:
    """(record, offset of its end) for every line that a newline ends."""
    if not path.exists():
        return []
    lines: list[tuple[Record, int]] = []
    end = 0
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            break  # cut off by a kill, even where what is left happens to be JSON
        end += len(line)
        try:
            record = _loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise RequestError(
                f"{path} must hold one JSON object per line, got something else in line "
                f"{number}; move the file away, or mend that line"
            )
        lines.append((record, end))
    return lines


def _loads(text: bytes) -> Any:
    """Strict JSON again: a NaN or an infinity was not written by ``dumps``."""
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]

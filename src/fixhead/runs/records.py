"""Rows on disk: appended whole or not at all, and still readable after a kill or a full disk."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._errors import RequestError

Record = dict[str, Any]


def dumps(value: object, *, indent: int | None = None) -> str:
    """Strict JSON: NaN and infinity are refused, so that any reader can read it."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, indent=indent)


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Append one record as a line and wait until it is on disk.

    Where that fails (a full disk), the file is cut back to the records it held before.
    """
    line = (dumps(record) + "\n").encode()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        end = os.lseek(handle, 0, os.SEEK_END)
        try:
            _write_all(handle, line)
            os.fsync(handle)
        except BaseException:
            os.ftruncate(handle, end)
            raise
    finally:
        os.close(handle)


def read(path: Path) -> list[Record]:
    """All whole records of a file; a last line cut off by a kill is not one of them.

    Raises:
        RequestError: a line before the last is no JSON object; the line is named.
    """
    return [record for record, _ in _lines(path)]


def repair(path: Path) -> bool:
    """Cut off a last line that a kill left unfinished; say whether there was one."""
    if not path.exists():
        return False
    end = max((stop for _, stop in _lines(path)), default=0)
    if end == path.stat().st_size:
        return False
    os.truncate(path, end)
    return True


def _lines(path: Path) -> list[tuple[Record, int]]:
    """(record, offset of its end) for every whole line."""
    if not path.exists():
        return []
    found: list[tuple[Record, int]] = []
    end = 0
    raw = path.read_bytes()
    for number, line in enumerate(raw.splitlines(keepends=True), start=1):
        end += len(line)
        whole = line.endswith(b"\n")
        try:
            record = json.loads(line)
        except ValueError as error:
            if not whole and end == len(raw):
                break
            raise RequestError(
                f"{path.name} must hold one JSON object per line, got something else in line "
                f"{number}; move the file away, or mend that line"
            ) from error
        if not whole:
            break  # JSON by chance, but its newline never arrived
        found.append((record, end))
    return found


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]

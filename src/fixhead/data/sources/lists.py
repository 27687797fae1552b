"""Lists of names: from text files, a line each, or the numbers of classes without names."""

from __future__ import annotations

from pathlib import Path

from ..._errors import RequestError

MOST_NUMBERED = 1 << 24
"""More classes than this by their numbers alone are a broken label: their names would not fit."""


def numbered(highest: int) -> tuple[str, ...]:
    """The names ``"0"`` … ``"highest"`` of classes that have no other.

    Raises:
        RequestError: a label so large that it can be none.
    """
    if highest >= MOST_NUMBERED:
        raise RequestError(
            f"labels need to be below {MOST_NUMBERED} where the data names no classes, got "
            f"{highest}"
        )
    return tuple(map(str, range(highest + 1)))


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file.

    Raises:
        RequestError: it is missing, cannot be read, or is no UTF-8 text.
    """
    if not path.is_file():
        raise RequestError(f"{path.parent} needs the file {path.name}, and it is missing")
    try:
        return as_text(path.read_bytes(), str(path)).splitlines()
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror})") from error


def as_text(content: bytes, name: str) -> str:
    """``content`` as UTF-8 text.

    Raises:
        RequestError: it is something else.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"{name} needs to be UTF-8 text ({error})") from error

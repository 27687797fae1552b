"""File names, lines of text files, and named members of a folder or of a gzipped tar archive.

Nothing is unpacked to disk. A member is asked for by its exact name and read into memory, so no
name inside an archive (``../``, absolute, a link) can lead anywhere.
"""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..._errors import RequestError
from .request import DataRequest

LEFT_OVER = frozenset(
    {"__MACOSX", "__pycache__", "Thumbs.db", "desktop.ini", "@eaDir", "$RECYCLE.BIN", "lost+found"}
)


def is_left_over(name: str) -> bool:
    """Whether systems leave files and folders of this name behind, and nobody means them."""
    return name.startswith(".") or name in LEFT_OVER


def readable(name: str) -> str:
    """A file's name as text; one that is no UTF-8 is read as Windows' western code page."""
    raw = os.fsencode(name)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file, without a byte-order mark and blank lines at its end.

    Raises:
        RequestError: it is missing, cannot be read, or is no UTF-8 text.
    """
    if not path.is_file():
        raise RequestError(f"{path.parent} needs the file {path.name}, and it is missing")
    try:
        lines = as_text(path.read_bytes(), str(path)).rstrip().splitlines()
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror})") from error
    return [line.rstrip() for line in lines]


def as_text(content: bytes, name: str) -> str:
    """``content`` as UTF-8 text.

    Raises:
        RequestError: it is something else.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{name} needs to be UTF-8 text ({error})") from error


MEMBER_LIMIT_BYTES = 1 << 30
"""A member that says it is larger than this is refused unread."""


def find_members(request: DataRequest, folder: str, archive: str) -> Path:
    """The unpacked ``folder`` or the ``archive``, whichever lies in the data folder."""
    return request.find((folder, archive), ())


def member_files(place: Path, names: Iterable[str]) -> list[Path]:
    """What decides the content, for the cache: the archive, or the files in the folder.

    Raises:
        RequestError: a file that is missing from the folder.
    """
    if not place.is_dir():
        return [place]
    files = [place / name for name in names]
    for file in files:
        if not file.is_file():
            raise RequestError(f"{place} needs the file {file.name}, and it is missing")
    return files


def read_members(place: Path, folder: str, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """``(name, content)`` of each name, in the order in which they lie.

    Raises:
        RequestError: a broken or cut-off archive, a member that is missing, is no plain file or
            is too large.
    """
    if place.is_dir():
        for name in names:
            yield name, (place / name).read_bytes()
        return
    try:
        yield from _from_tar(place, folder, set(names))
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(
            f"{place} is not a whole tar archive ({error}); download it again"
        ) from error


def _from_tar(place: Path, folder: str, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(place, "r:*") as archive:
        for member in archive:
            name = member.name.removeprefix("./").removeprefix(f"{folder}/")
            if name not in wanted:
                continue
            wanted.remove(name)
            file = archive.extractfile(member) if member.isfile() else None
            if file is None or member.size > MEMBER_LIMIT_BYTES:
                raise RequestError(f"{place} needs {name} to be a plain file of at most 1 GiB")
            yield name, file.read()
            if not wanted:
                return
    raise RequestError(f"{place} needs the members {', '.join(sorted(wanted))}, and lacks them")

"""Files that are there whole or not at all, whenever the process is killed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a draft beside ``path``, force it to disk, and put it in place at once.

    Readers see the old file or the new one. Where writing fails, e.g. on a full disk, the draft is
    removed and the old file stays. Two processes may write one file: the last whole one stays.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        write(draft)
        _force_to_disk(draft)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the new name itself, too
        _force_to_disk(path.parent)


def replace_text(path: Path, text: str) -> None:
    """``replace_file`` with this text, in UTF-8 with the line ends as they are."""
    replace_file(path, lambda draft: draft.write_bytes(text.encode()))


def remove_drafts(path: Path) -> None:
    """Take away what killed processes left beside ``path``."""
    # Not by a pattern: a name may hold the signs that patterns are made of.
    for found in path.parent.iterdir() if path.parent.is_dir() else ():
        if found.name.startswith(f".{path.name}.") and found.name.endswith(".draft"):
            found.unlink(missing_ok=True)


def _force_to_disk(path: Path) -> None:
    # A plain file is opened for writing because Windows flushes no other; a folder cannot be.
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Files that are there whole or not at all, whenever the process is killed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a draft beside ``path``, force it to disk, and put it in place at once.

    Readers see the old file or the new one. Where writing fails, e.g. on a full disk, the draft is
    removed and the old file stays.
    """
    draft = draft_of(path)
    try:
        write(draft)
        _force_to_disk(draft)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the new name itself, too
        _force_to_disk(path.parent)


def draft_of(path: Path) -> Path:
    """Where ``replace_file`` writes first; a killed process may leave it, a later one reuses it."""
    return path.with_name(f".{path.name}.draft")


def _force_to_disk(path: Path) -> None:
    # A plain file is opened for writing because Windows flushes no other; a folder cannot be.
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""An output folder belongs to one comparison, and to one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .._errors import RequestError
from .._version import __version__
from ..runs.layout import COMPARISON_SCHEMA, CONFIG_FILE
from ..runs.records import read_json, write_json
from .config import Comparison

_LOCK = ".lock"


@contextmanager
def claim(directory: Path, comparison: Comparison) -> Iterator[None]:
    """Hold ``directory`` for this comparison; begin it, or carry on what was begun.

    Raises:
        RequestError: the folder holds another comparison or someone else's files, or another
            process is at work in it.
    """
    if directory.exists() and not directory.is_dir():
        raise RequestError(f"--out must be a folder, got the file {directory}")
    refuse_foreign(directory, comparison)
    directory.mkdir(parents=True, exist_ok=True)
    with _lock(directory):
        refuse_foreign(directory, comparison)  # again, now that nobody else can write
        if not (directory / CONFIG_FILE).exists():
            write_json(directory / CONFIG_FILE, _facts(comparison))
        yield


def refuse_foreign(directory: Path, comparison: Comparison) -> None:
    """Refuse a folder that is not empty and not this comparison's."""
    if not directory.exists():
        return
    path = directory / CONFIG_FILE
    if not path.exists():
        # A kill before config.json was whole leaves only our lock and a draft.
        others = sorted(
            entry.name for entry in directory.iterdir() if not entry.name.startswith(".")
        )
        if others:
            raise RequestError(
                f"--out needs a new or empty folder, or one of fixhead's own, got {directory} "
                f"with other files in it ({others[0]}, …); name another folder"
            )
        return
    theirs = read_config(directory)
    if theirs["digest"] != comparison.digest:
        raise RequestError(
            f"--out needs the folder of this very comparison, got {directory} made with "
            f"{_first_difference(theirs['config'], comparison.to_dict())}; name another folder, or "
            "repeat the options it was made with"
        )


def read_config(directory: Path) -> dict[str, Any]:
    """The config.json of a comparison's folder.

    Raises:
        RequestError: the file is missing or is not fixhead's.
    """
    missing = f"{directory} is no comparison's folder: {CONFIG_FILE} is missing"
    return read_json(directory / CONFIG_FILE, COMPARISON_SCHEMA, missing=missing)


def _facts(comparison: Comparison) -> dict[str, Any]:
    return {
        "schema": COMPARISON_SCHEMA,
        "fixhead": __version__,
        "config": comparison.to_dict(),
        "digest": comparison.digest,
    }


@contextmanager
def _lock(directory: Path) -> Iterator[None]:
    # The kernel drops the lock when its holder dies, however it dies.
    try:
        with FileLock(directory / _LOCK, timeout=0):
            yield
    except Timeout:
        raise RequestError(
            f"another fixhead is at work in {directory}; wait for it, or name another folder"
        ) from None


def _first_difference(theirs: dict[str, Any], ours: dict[str, Any], prefix: str = "") -> str:
    for name in ours:
        then, now = theirs.get(name), ours[name]
        if isinstance(then, dict) and isinstance(now, dict):
            inner = _first_difference(then, now, f"{prefix}{name}.")
            if inner:
                return inner
        elif then != now:
            return f"{prefix}{name} = {then!r} where this one has {now!r}"
    return "" if prefix else "another data folder"

"""Names of a room that are imported when they are first used (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(room: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__``: the name's value from its home, a module of ``room``.

    The value is looked up anew each time, so that a test's replacement is seen.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f".{homes[name]}", room), name)

    return find

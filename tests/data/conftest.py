"""Every test of this room has a cache of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test; the user's own is never touched."""
    folder = tmp_path / "fixhead-cache"
    monkeypatch.setenv("FIXHEAD_CACHE", str(folder))
    return folder

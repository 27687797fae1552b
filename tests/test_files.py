"""Files that are replaced whole: what a reader, a full disk and a kill leave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fixhead import _files


def test_a_file_is_replaced_by_exactly_the_text(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    for text in ("first\r\n", "zweite größe ×\n"):
        _files.replace_text(path, text)
        assert path.read_bytes() == text.encode()
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text("old")

    def write(draft: Path) -> None:
        draft.write_text("ne")
        assert path.read_text() == "old"
        draft.write_text("new")

    _files.replace_file(path, write)
    assert path.read_text() == "new"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.json"
    _files.replace_text(path, "old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        _files.replace_text(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_only_the_drafts_of_that_file_are_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "state[1].pt"
    for name in (path.name, f".{path.name}.7.draft", f".{path.name}.8.draft", ".state1.pt.7.draft"):
        (tmp_path / name).touch()
    _files.remove_drafts(path)
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, ".state1.pt.7.draft"}
    _files.remove_drafts(tmp_path / "missing" / "state.pt")

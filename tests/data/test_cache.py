"""The cache: whole or not there, the same for two builders, refused where it cannot be written."""

from __future__ import annotations

import errno
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fixhead._errors import RequestError
from fixhead.data.cache import ABOUT, FORMAT, CacheWriter, cache_folder, cached


class Build:
    """A loader that counts how often it is asked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, writer: CacheWriter) -> None:
        self.times += 1
        for part, number in (("train", 6), ("test", 2)):
            images = writer.images(part, (number, 1, 2, 2))
            images[:] = np.arange(number, dtype=np.uint8)[:, None, None, None]
            writer.labels(part, np.arange(number) % 2)
        writer.describe(["a", "b"], ["a note"])


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes as on POSIX")


def in_processes(number: int, work: Callable[[], object]) -> list[int]:
    """The exit statuses of so many processes that do ``work`` at once."""
    children = []
    for _ in range(number):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer Pythons warn of threads, which are idle here
            child = os.fork()
        if child == 0:
            status = 1
            try:
                work()
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def folders(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir()]


def test_a_second_look_builds_nothing(tmp_path: Path) -> None:
    build = Build()
    first, second = (cached("x", {"k": 1}, build, cache_dir=tmp_path) for _ in range(2))
    assert build.times == 1
    assert second.classes == ("a", "b")
    assert second.notes == ("a note",)
    assert second.moments == first.moments
    np.testing.assert_array_equal(second.train.images[:, 0, 0, 0], np.arange(6))
    assert isinstance(second.train.images, np.memmap)


def test_another_source_is_another_entry(tmp_path: Path) -> None:
    build = Build()
    cached("x", {"image_size": 8}, build, cache_dir=tmp_path)
    cached("x", {"image_size": 9}, build, cache_dir=tmp_path)
    assert build.times == 2
    assert len(folders(tmp_path)) == 2


@pytest.mark.parametrize("file", ["train_images.npy", "test_labels.npy", ABOUT])
@pytest.mark.parametrize("how", ["cut", "empty", "gone"])
def test_a_cut_off_entry_is_built_again(tmp_path: Path, file: str, how: str) -> None:
    build = Build()
    cached("x", {}, build, cache_dir=tmp_path)
    path = folders(tmp_path)[0] / file
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] if how == "cut" else b"")
    entry = cached("x", {}, build, cache_dir=tmp_path)
    assert build.times == 2
    assert entry.train.images.shape == (6, 1, 2, 2)
    assert len(folders(tmp_path)) == 1


def test_an_entry_of_another_version_is_built_again(tmp_path: Path) -> None:
    build = Build()
    cached("x", {}, build, cache_dir=tmp_path)
    about = folders(tmp_path)[0] / ABOUT
    about.write_text(json.dumps({**json.loads(about.read_text()), "format": FORMAT + 1}))
    cached("x", {}, build, cache_dir=tmp_path)
    assert build.times == 2


def test_a_builder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(writer: CacheWriter) -> None:
        writer.images("train", (3, 1, 2, 2))
        raise RequestError("broken source")

    with pytest.raises(RequestError, match="broken source"):
        cached("x", {}, fail, cache_dir=tmp_path)
    assert folders(tmp_path) == []


@needs_fork
def test_what_a_killed_builder_left_is_cleared(tmp_path: Path) -> None:
    [status] = in_processes(1, lambda: cached("x", {}, lambda _: os._exit(9), cache_dir=tmp_path))
    assert status == 9
    assert len(folders(tmp_path)) == 1  # its half
    cached("x", {}, Build(), cache_dir=tmp_path)
    assert [path.name[0] for path in folders(tmp_path)] == ["x"]


@needs_fork
def test_processes_that_build_at_once_all_end_with_the_one_entry(tmp_path: Path) -> None:
    cache, asked = tmp_path / "cache", tmp_path / "asked"

    def build(writer: CacheWriter) -> None:
        with asked.open("a") as file:
            file.write("x")
        Build()(writer)

    assert in_processes(3, lambda: cached("x", {}, build, cache_dir=cache)) == [0] * 3
    assert len(folders(cache)) == 1
    assert asked.read_text() == "x"  # the lock let one build and the others find


def test_without_locks_the_rename_keeps_one_whole_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixhead.data.cache.fcntl", None)
    build = Build()

    def overtaken(writer: CacheWriter) -> None:  # another process finishes while this one builds
        if build.times == 0:
            cached("x", {}, build, cache_dir=tmp_path / "other")
            (tmp_path / "other").rename(tmp_path / "aside")
            place = folders(tmp_path / "aside")[0]
            place.rename(writer.folder.parent / place.name)
        build(writer)

    entry = cached("x", {}, overtaken, cache_dir=tmp_path / "cache")
    assert entry.train.images.shape == (6, 1, 2, 2)
    assert len(folders(tmp_path / "cache")) == 1


def test_torch_can_look_at_cached_images_and_cannot_change_the_file(tmp_path: Path) -> None:
    entry = cached("x", {}, Build(), cache_dir=tmp_path)
    torch.from_numpy(entry.train.images[:]).add_(1)
    again = cached("x", {}, Build(), cache_dir=tmp_path)
    np.testing.assert_array_equal(again.train.images[:, 0, 0, 0], np.arange(6))


def test_a_full_disk_is_said_in_one_sentence(tmp_path: Path) -> None:
    def full(writer: CacheWriter) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(RequestError, match=r"No space left on device; set FIXHEAD_CACHE"):
        cached("x", {}, full, cache_dir=tmp_path)
    assert folders(tmp_path) == []


def test_a_cache_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cache folder"):
        cached("x", {}, Build(), cache_dir=tmp_path / "file" / "cache")


def test_the_environment_names_the_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/somebody/.cache")
    monkeypatch.delenv("FIXHEAD_CACHE", raising=False)
    assert cache_folder() == Path("/home/somebody/.cache/fixhead")
    monkeypatch.setenv("FIXHEAD_CACHE", "/fast/disk")
    assert cache_folder() == Path("/fast/disk")
    assert cache_folder(Path("given")) == Path("given")

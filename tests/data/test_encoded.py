"""Decoding many images: threads, streams, and what decides between cache and stream."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from making import encoded, noise, put_image

from fixhead._errors import RequestError
from fixhead.data import load
from fixhead.data.encoded import Decoding, Encoded, Streamed, decode_into, each
from fixhead.data.sources.request import memory_bytes


class Pictures:
    """Items in memory that note which were asked for."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.asked: list[int] = []
        self.threads: set[int] = set()

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> Encoded:
        self.asked.append(index)
        self.threads.add(threading.get_ident())
        return Encoded(self.name(index), encoded(noise(4, 4, 3, seed=index)))

    def name(self, index: int) -> str:
        return f"picture {index}"


def test_work_on_threads_comes_back_in_order() -> None:
    assert list(each(1000, lambda index: index * index)) == [n * n for n in range(1000)]


def test_the_first_failure_is_raised() -> None:
    def work(index: int) -> int:
        if index in (7, 300):
            raise RequestError(f"number {index}")
        return index

    with pytest.raises(RequestError, match="number 7"):
        list(each(500, work))


def test_streams_read_only_what_is_asked_for() -> None:
    pictures = Pictures(100)
    stream = Streamed(pictures, Decoding(4, 3))
    images = stream[[5, 99, 5]]
    assert sorted(pictures.asked) == [5, 5, 99]
    np.testing.assert_array_equal(images[0], noise(4, 4, 3, seed=5).transpose(2, 0, 1))
    np.testing.assert_array_equal(images[0], images[2])
    np.testing.assert_array_equal(stream[-1], images[1])


def test_an_image_of_another_size_is_named() -> None:
    with pytest.raises(RequestError, match="picture 0 needs 5x5 pixels, got 4x4"):
        decode_into(np.empty((2, 3, 5, 5), dtype=np.uint8), Pictures(2), Decoding(None, 3))


def test_progress_is_said_for_each_part_up_to_its_end(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(150):
            put_image(tmp_path / "set" / name / f"{number}.png", noise(2, 2))
    said: list[tuple[int, int]] = []
    load(str(tmp_path / "set"), progress=lambda done, total: said.append((done, total)))
    assert said == [(240, 240), (60, 60)]
    load(str(tmp_path / "set"), progress=lambda done, total: said.append((done, total)))
    assert len(said) == 2  # nothing is decoded twice


def test_a_folder_larger_than_memory_is_streamed(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        for number in range(5):
            put_image(tmp_path / "set" / name / f"{number}.png", noise(8, 8, 3, seed=number))
    cached = load(str(tmp_path / "set"), image_size=4)
    assert isinstance(cached.train.images, np.memmap)
    monkeypatch.setattr("fixhead.data.sources.request.memory_bytes", lambda: 10 * 3 * 16 - 1)
    streamed = load(str(tmp_path / "set"), image_size=4)
    assert isinstance(streamed.train.images, Streamed)
    np.testing.assert_array_equal(streamed.train.images[:], cached.train.images[:])
    assert streamed.mean == cached.mean
    monkeypatch.setattr("fixhead.data.sources.request.memory_bytes", lambda: 10 * 3 * 16)
    assert isinstance(load(str(tmp_path / "set"), image_size=4).train.images, np.memmap)


def test_a_container_limits_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr("fixhead.data.sources.request.CONTAINER_LIMIT", limit)
    machine = memory_bytes()
    limit.write_text("1048576\n")
    assert memory_bytes() == 1048576
    limit.write_text("max\n")
    assert memory_bytes() == machine > 1 << 28

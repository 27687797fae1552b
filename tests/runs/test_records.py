import errno
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead import RequestError
from fixhead.runs import records


def test_records_come_back_in_their_order(tmp_path):
    path = tmp_path / "runs.jsonl"
    for seed in range(3):
        records.append(path, {"seed": seed, "name": "größe\n×"})
    assert [row["seed"] for row in records.read(path)] == [0, 1, 2]
    assert len(path.read_text(encoding="utf-8").splitlines()) == 3


@settings(deadline=None, max_examples=40)
@given(cut=st.integers(0, 200))
def test_a_file_cut_anywhere_keeps_its_whole_records_and_goes_on(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "runs.jsonl"
    for seed in range(4):
        records.append(path, {"seed": seed, "text": "x" * 20})
    raw = path.read_bytes()
    cut = min(cut, len(raw))
    path.write_bytes(raw[:cut])
    whole = raw[:cut].count(b"\n")
    assert [row["seed"] for row in records.read(path)] == list(range(whole))
    assert records.repair(path) == (not raw[:cut].endswith(b"\n") and cut > 0)
    records.append(path, {"seed": 99})
    assert [row["seed"] for row in records.read(path)] == [*range(whole), 99]


def test_a_full_disk_leaves_the_finished_records_whole(tmp_path, monkeypatch):
    path = tmp_path / "runs.jsonl"
    records.append(path, {"seed": 0})
    real = os.write

    def half_then_full(handle, data):
        if len(data) > 4:
            return real(handle, data[:4])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", half_then_full)
    with pytest.raises(OSError, match="No space left"):
        records.append(path, {"seed": 1})
    monkeypatch.undo()
    assert path.read_text() == '{"seed": 0}\n'


def test_garbage_between_records_is_refused_by_line(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"seed": 0}\nnot json\n{"seed": 1}\n')
    with pytest.raises(RequestError, match="line 2"):
        records.read(path)


def test_not_a_number_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        records.append(tmp_path / "runs.jsonl", {"loss": float("nan")})
    assert records.read(tmp_path / "runs.jsonl") == []

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


def test_a_line_that_is_no_object_or_holds_nan_is_refused_by_line(tmp_path):
    path = tmp_path / "runs.jsonl"
    for bad in ("[1, 2]", '{"loss": NaN}'):
        path.write_text(f'{{"seed": 0}}\n{bad}\n')
        with pytest.raises(RequestError, match="line 2"):
            records.read(path)


def test_rewriting_leaves_exactly_the_records_that_were_given(tmp_path):
    path = tmp_path / "history.jsonl"
    for epoch in (1, 2, 3):
        records.append(path, {"epoch": epoch}, sync=False)
    records.rewrite(path, [{"epoch": 1}])
    assert path.read_text() == '{"epoch": 1}\n'


def test_a_run_that_was_recorded_again_counts_once_by_its_last_record():
    rows = [{"run_id": "a", "n": 1}, {"run_id": "b", "n": 2}, {"run_id": "a", "n": 3}]
    assert records.latest(rows) == [{"run_id": "a", "n": 3}, {"run_id": "b", "n": 2}]


@pytest.mark.parametrize("content", ["not json", "[]", '{"schema": "fixhead.run/2"}', '{"x": NaN}'])
def test_one_record_of_another_schema_or_kind_is_refused_with_its_path(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(RequestError, match=r"config\.json"):
        records.read_json(path, "fixhead.run/1", missing="not there")


def test_one_record_comes_back_and_a_missing_one_is_told_in_the_readers_words(tmp_path):
    path = tmp_path / "results.json"
    with pytest.raises(RequestError, match="start it"):
        records.read_json(path, "fixhead.results/1", missing="start it")
    records.write_json(path, {"schema": "fixhead.results/1", "data": "größe"})
    found = records.read_json(path, "fixhead.results/1", missing="start it")
    assert found["data"] == "größe"

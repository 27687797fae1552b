from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fixhead import RequestError
from fixhead.report.records import read_records

Make = Callable[..., Path]


def test_a_folder_is_read_whole(make_comparison: Make) -> None:
    records = read_records(make_comparison(seeds=2, epochs=5))
    assert records.heads[:2] == ["learned-dot", "random-dot"]
    assert len(records.done) == 12
    assert records.classes == list("0123456789")
    assert {len(history) for history in records.histories.values()} == {5}
    assert [run["seed"] for run in records.of("simplex")] == [0, 1]


def test_a_last_line_cut_off_by_a_kill_is_no_record(make_comparison: Make) -> None:
    folder = make_comparison(seeds=1)
    with (folder / "runs.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"schema": "fixhead.run/1", "run_')
    assert len(read_records(folder).runs) == 6


def test_a_run_tried_again_counts_once_as_it_ended(make_comparison: Make) -> None:
    folder = make_comparison(seeds=1, failed=("simplex-seed0",))
    again = make_comparison("again", seeds=1)
    lines = (again / "runs.jsonl").read_text().splitlines()
    with (folder / "runs.jsonl").open("a", encoding="utf-8") as file:
        file.write(next(line for line in lines if '"simplex-seed0"' in line) + "\n")
    records = read_records(folder)
    assert not records.failed
    assert len(records.runs) == 6


@pytest.mark.parametrize("name", ["config.json", "results.json"])
def test_a_missing_file_is_named(make_comparison: Make, name: str) -> None:
    folder = make_comparison(seeds=1)
    (folder / name).unlink()
    with pytest.raises(RequestError, match=name):
        read_records(folder)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="which is none"):
        read_records(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["config.json", "results.json"])
@pytest.mark.parametrize("text", ["[]", '{"schema": "someone.else/1"}', "{"])
def test_a_file_of_another_make_is_refused(make_comparison: Make, name: str, text: str) -> None:
    folder = make_comparison(seeds=1)
    (folder / name).write_text(text)
    with pytest.raises(RequestError, match=name):
        read_records(folder)


def test_a_broken_line_is_named_by_its_number(make_comparison: Make) -> None:
    folder = make_comparison(seeds=1)
    lines = (folder / "runs.jsonl").read_text().splitlines()
    lines[2] = "not json"
    (folder / "runs.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(RequestError, match="line 3"):
        read_records(folder)


def test_a_run_of_another_schema_is_refused(make_comparison: Make) -> None:
    folder = make_comparison(seeds=1)
    with (folder / "runs.jsonl").open("a") as file:
        file.write(json.dumps({"schema": "fixhead.run/9", "run_id": "x", "status": "done"}) + "\n")
    with pytest.raises(RequestError, match="run/9"):
        read_records(folder)


def test_a_nan_is_no_json(make_comparison: Make) -> None:
    folder = make_comparison(seeds=1)
    with (folder / "runs.jsonl").open("a") as file:
        file.write('{"schema": "fixhead.run/1", "run_id": "x", "val_accuracy": NaN}\n')
    with pytest.raises(RequestError, match="line 7"):
        read_records(folder)


@pytest.mark.parametrize("run_id", ["../../elsewhere", "a/b", ""])
def test_a_run_id_cannot_lead_out_of_the_folder(make_comparison: Make, run_id: str) -> None:
    folder = make_comparison(seeds=1)
    with (folder / "runs.jsonl").open("a") as file:
        row = {"schema": "fixhead.run/1", "run_id": run_id, "status": "done", "head": "x"}
        file.write(json.dumps(row) + "\n")
    with pytest.raises(RequestError, match="run_id"):
        read_records(folder)

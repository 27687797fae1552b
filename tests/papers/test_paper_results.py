"""results.json and the terminal: what was asked, what was run, where, and what failed."""

import json

import pytest

from fixhead.cli import run
from fixhead.papers import PaperRequest, RunOptions, find, perform
from fixhead.papers.registry import build
from fixhead.papers.run import command, name_of, provenance
from fixhead.runs.records import read, rewrite

MEMORY = ("hoffer2018", "memory")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An item that needs no data, run once."""
    path = tmp_path_factory.mktemp("results")
    perform(find(*MEMORY), PaperRequest("small"), path)
    return path


def results(folder):
    path = folder / "hoffer2018-small" / "memory" / "results.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("request_", "name", "words"),
    [
        (PaperRequest("small"), "table1", "--scale small"),
        (PaperRequest("full", as_published=True), "table1-as-published", "--as-published"),
        (PaperRequest("small", epochs=3), "table1-3epochs", "--epochs 3"),
        (PaperRequest("small", seeds=7), "table1", "--seeds 7"),
    ],
)
def test_a_requests_folder_and_command_are_told_apart(request_, name, words):
    item = find("shalev2020", "table1")
    assert name_of(item, request_) == name
    assert command(item, request_).startswith("fixhead paper shalev2020 table1 --scale ")
    assert words in command(item, request_)


def test_the_results_name_the_paper_the_runs_and_the_verdicts(folder):
    found = results(folder)
    assert found["paper_title"] == "Hoffer et al. 2018"
    assert found["protocol"] is None
    assert found["cells"] == {"planned": 5, "done": 5, "missing": []}
    assert found["verdicts"]["rows"]["agrees with a recalled figure"] == 8
    assert sum(found["verdicts"]["rows"].values()) == len(found["rows"])
    assert found["failed"] == []
    assert found["made"]["seconds"] == pytest.approx(
        sum(row["seconds"] for row in read(folder / "hoffer2018-small" / "runs.jsonl"))
    )


def test_provenance_gathers_what_differs_between_runs():
    base = {"versions": {"torch": "2"}, "commit": "a", "device": "cpu", "started_at": "2026-01-02"}
    rows = [
        base | {"train_seconds": 2.0},
        base | {"device": "cuda", "commit": "b", "started_at": "2026-01-01", "seconds": 3.0},
    ]
    found = provenance(rows)
    assert found["devices"] == ["cpu", "cuda"]
    assert found["commits"] == ["a", "b"]
    assert found["versions"] == {"torch": ["2"]}
    assert (found["first_started"], found["last_started"]) == ("2026-01-01", "2026-01-02")
    assert found["seconds"] == 5.0


def test_a_run_that_broke_is_named_with_its_last_line_and_counts_for_nothing(folder, tmp_path):
    perform(find(*MEMORY), PaperRequest("small"), tmp_path)
    path = tmp_path / "hoffer2018-small" / "runs.jsonl"
    rows = read(path)
    broken = {"status": "failed", "error": "Traceback …\nOSError: disk full\n"}
    rewrite(path, [rows[0] | broken, *rows[1:]])
    perform(find(*MEMORY), PaperRequest("small"), tmp_path, RunOptions(run=False))
    found = results(tmp_path)
    assert found["failed"] == [{"cell": rows[0]["cell"], "error": "OSError: disk full"}]
    assert found["rows"][0]["verdict"] == "not run"


def test_the_terminal_shows_figures_with_their_verdicts_and_the_page(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["paper", *MEMORY, "--scale", "small", "--no-run", "--out", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "0.856 (recalled, unverified)" in said
    assert "agrees with a recalled figure" in said
    assert "5 of 5 cells done" in said
    assert "report.html" in said


def test_a_try_out_says_so():
    request = PaperRequest("small", epochs=2)
    content = build(find("shalev2020", "table1"), request)
    assert {cell.comparison.recipe.epochs for cell in content.cells} == {2}
    assert all("a shorter schedule: 2 epochs" in entry.differs for entry in content.entries)

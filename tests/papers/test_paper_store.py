"""Runs are done once, whoever asks, and carry on after a stop."""

import json

import pytest

from fixhead import RequestError
from fixhead.cli import run
from fixhead.papers import PaperRequest, RunOptions, find
from fixhead.papers.delacalle2019 import FULL, SMALL
from fixhead.papers.item import ComputedCell, TrainingCell
from fixhead.papers.run import perform
from fixhead.papers.store import PaperStore
from fixhead.runs.pool import Workers
from fixhead.runs.records import read

ONE = PaperRequest("small", seeds=1, epochs=1)


def counted(load, seed, start):
    return {"value": start + seed}


def test_a_computed_cell_is_recorded_with_its_arguments_and_done_once(tmp_path):
    cell = ComputedCell(counted, (("start", 5),), seed=2)
    store = PaperStore(tmp_path)
    store.run_missing([cell])
    store.run_missing([cell])
    rows = read(tmp_path / "runs.jsonl")
    assert len(rows) == 1
    assert rows[0]["found"] == {"value": 7}
    assert rows[0]["arguments"] == {"start": 5}
    assert ComputedCell(counted, (("start", 6),), seed=2).name != cell.name


def test_a_second_item_and_a_second_start_repeat_no_run(tiny, tmp_path):
    for name in ("figure3", "figure4", "figure3"):
        perform(find("delacalle2019", name), ONE, tmp_path, RunOptions(tiny, "cpu"))
    rows = read(tmp_path / "delacalle2019-small" / "runs.jsonl")
    assert len(rows) == len({row["cell"] for row in rows}) == 4


def test_a_cut_off_line_is_repaired_and_its_run_repeated(tmp_path):
    cells = [ComputedCell(counted, (("start", 1),), seed=seed) for seed in range(3)]
    store = PaperStore(tmp_path)
    store.run_missing(cells)
    path = tmp_path / "runs.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    store.run_missing(cells)
    assert {row["seed"] for row in read(path)} == {0, 1, 2}
    assert len(read(path)) == 3


def test_a_measure_asked_for_later_needs_no_new_run(tiny, tmp_path):
    cell = TrainingCell(SMALL.of(FULL, epochs=1), "guided", 0)
    store = PaperStore(tmp_path, tiny, "cpu")
    store.run_missing([cell])
    more = TrainingCell(cell.recipe, "guided", 0, ("embedding",))
    assert more.name == cell.name
    store.run_missing([more])
    assert len(read(tmp_path / "runs.jsonl")) == 1
    found = store.records([more])[cell.name]["measures"]["embedding"]
    assert len(found["points"]) == len(found["labels"]) == 40


def test_names_follow_the_whole_configuration_but_not_where_data_lie():
    recipe = SMALL.of(FULL)
    names = {
        TrainingCell(recipe, "guided", 0).name,
        TrainingCell(recipe, "guided", 1).name,
        TrainingCell(SMALL.of(FULL, epochs=3), "guided", 0).name,
        TrainingCell(SMALL.of(FULL, lr=0.1), "guided", 0).name,
    }
    assert len(names) == 4


def test_all_images_are_trained_on_and_the_last_epoch_counts(tiny, store):
    perform(find("delacalle2019", "variability"), ONE, store, RunOptions(tiny, "cpu"))
    for row in read(store / "delacalle2019-small" / "runs.jsonl"):
        if "config" not in row:
            continue
        assert row["config"]["choose"] == "last"
        assert row["val_accuracy"] is None
        assert row["best_epoch"] == row["epochs"]
        assert row["test_accuracy"] == row["last_epoch_accuracy"]


def test_refusals_name_what_is_needed(capsys, tmp_path):
    def refused(*arguments):
        assert run(["paper", *arguments, "--out", str(tmp_path)]) == 2
        return capsys.readouterr().err

    assert "shalev2020" in refused("nobody2000", "table1")
    assert "table1" in refused("shalev2020", "table77")
    assert "paper list" in refused("shalev2020")
    assert "full, long, medium, small" in refused("shalev2020", "table1", "--scale", "huge")
    assert "--as-published" in refused("delacalle2019", "figure3", "--as-published")
    assert "names none" in refused("shalev2020", "table1", "--cells", "nothing-like-it")
    assert not list(tmp_path.rglob("runs.jsonl"))


def test_a_page_is_made_from_the_runs_that_are_done(tiny, tmp_path):
    item, one = find("delacalle2019", "figure4"), RunOptions(tiny, "cpu", cells="guided-seed")
    perform(item, ONE, tmp_path, one)
    results = perform(item, ONE, tmp_path, RunOptions(run=False))
    assert results["cells"]["done"] == 1
    assert results["cells"]["planned"] == 4
    assert [row["verdict"] == "not run" for row in results["rows"]] == [True, False, True, True]


def test_a_plan_is_said_without_running(capsys):
    assert run(["paper", "shalev2020", "table2", "--scale", "small", "--plan", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 12


def test_impossible_numbers_are_refused(tmp_path):
    with pytest.raises(RequestError, match="--seeds"):
        perform(find("delacalle2019", "figure3"), PaperRequest("small", seeds=0), tmp_path)
    with pytest.raises(RequestError, match="--jobs"):
        Workers(jobs=0)

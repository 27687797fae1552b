"""A folder of runs belongs to one comparison; each run is done once, and what is written stays."""

import json
import multiprocessing
from dataclasses import dataclass

import pytest

from fixhead import RequestError
from fixhead.runs.records import read
from fixhead.runs.store import RunStore, read_config

CONFIG = {"data": "digits", "seeds": 1, "heads": ["simplex"], "recipe": {"lr": 0.1, "epochs": 2}}


def facts(**changes):
    """config.json of a made comparison; its digest is as different as its configuration."""
    config = CONFIG | changes
    return {
        "schema": "fixhead.compare/1",
        "config": config,
        "digest": json.dumps(config, sort_keys=True),
    }


@dataclass(frozen=True)
class Planned:
    run_id: str


class Heard:
    """Keeps what it is told."""

    def __init__(self):
        self.lines, self.begun, self.records, self.heard = [], [], [], []

    def begin(self, total, done):
        self.begun.append((total, done))

    def hear(self, run_id, kind, *told):
        self.heard.append((run_id, kind, *told))

    def recorded(self, record):
        self.records.append(record)

    def say(self, line):
        self.lines.append(line)


def recorded(plan, tell):
    tell("record", "runs.jsonl", {"run_id": plan.run_id})


def fulfil(folder, plans, perform=recorded, listener=None, finish=lambda plan: None):
    store = RunStore(folder)
    store.run_missing(
        plans,
        perform,
        is_done=lambda plan: plan.run_id in store.by_run(),
        finish=finish,
        listener=listener or Heard(),
    )
    return store


PLANS = [Planned("a"), Planned("b"), Planned("c")]


def test_every_plan_is_done_once_however_often_it_is_asked_for(tmp_path):
    fulfil(tmp_path, PLANS[:2])
    heard = Heard()
    fulfil(tmp_path, PLANS, listener=heard)
    assert [row["run_id"] for row in read(tmp_path / "runs.jsonl")] == ["a", "b", "c"]
    assert heard.begun == [(3, 2)]
    assert [row["run_id"] for row in heard.records] == ["c"]


def test_what_is_no_record_is_passed_on_with_the_runs_name(tmp_path):
    def chatty(plan, tell):
        tell("epoch", 7)
        recorded(plan, tell)

    heard = Heard()
    fulfil(tmp_path, PLANS[:1], chatty, heard)
    assert heard.heard == [("a", "epoch", 7)]


def test_a_run_is_finished_after_its_records_are_on_disk(tmp_path):
    seen = []
    fulfil(tmp_path, PLANS, finish=lambda plan: seen.append(len(read(tmp_path / "runs.jsonl"))))
    assert seen == [1, 2, 3]


def test_an_error_ends_the_work_and_leaves_the_runs_before_it(tmp_path):
    def breaks(plan, tell):
        if plan.run_id == "b":
            raise RequestError("no such data")
        recorded(plan, tell)

    with pytest.raises(RequestError, match="no such data"):
        fulfil(tmp_path, PLANS, breaks)
    assert [row["run_id"] for row in read(tmp_path / "runs.jsonl")] == ["a"]
    fulfil(tmp_path, PLANS)  # its lock went with it
    assert len(read(tmp_path / "runs.jsonl")) == 3


def hold_then_record(folder, held, told):
    """In a process of its own: take run b in hand, and record it when told to."""
    store = RunStore(folder)
    lock = store.lock_run("b")
    held.set()
    told.wait(30)
    store.add({"run_id": "b", "by": "other"})
    lock.release()


def test_a_run_in_another_process_hands_is_waited_for_and_not_repeated(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, told = context.Event(), context.Event()
    other = context.Process(target=hold_then_record, args=(tmp_path, held, told))
    other.start()
    assert held.wait(30)
    assert RunStore(tmp_path).lock_run("b") is None

    def last_one_lets_go(plan, tell):
        recorded(plan, tell)
        if plan.run_id == "c":
            told.set()

    fulfil(tmp_path, PLANS, last_one_lets_go)
    other.join(30)
    rows = {row["run_id"]: row.get("by") for row in read(tmp_path / "runs.jsonl")}
    assert rows == {"a": None, "b": "other", "c": None}
    assert len(read(tmp_path / "runs.jsonl")) == 3


def test_records_that_others_append_are_seen_and_a_cut_file_is_read_anew(tmp_path):
    mine, theirs = RunStore(tmp_path), RunStore(tmp_path)
    for run_id in "ab":
        theirs.add({"run_id": run_id})
        assert list(mine.by_run())[-1] == run_id
    path = tmp_path / "runs.jsonl"
    path.write_bytes(path.read_bytes()[:-3])
    assert theirs.repair("runs.jsonl") == ["runs.jsonl"]
    assert list(mine.by_run()) == ["a"]
    mine.add({"run_id": "z"})
    assert list(mine.by_run()) == ["a", "z"]


def test_a_checkpoint_is_taken_away_and_nothing_else(tmp_path):
    store = RunStore(tmp_path)
    checkpoint = store.run_folder("a") / "checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.pt").write_text("weights")
    (store.run_folder("a") / "history.jsonl").write_text('{"epoch": 1}\n')
    store.discard_checkpoint("a")
    store.discard_checkpoint("a")
    assert not checkpoint.exists()
    assert store.history("a") == [{"epoch": 1}]


# --- whose folder it is ---------------------------------------------------------------------------


def test_a_new_folder_is_claimed_and_carries_its_configuration(tmp_path):
    out = tmp_path / "a" / "b"
    with RunStore(out).claim(facts()):
        assert read_config(out)["config"] == CONFIG


def test_the_same_comparison_comes_back_to_its_folder(tmp_path):
    for _ in range(2):
        with RunStore(tmp_path).claim(facts()):
            pass


def test_a_claimed_folder_takes_records(tmp_path):
    store = RunStore(tmp_path)
    with store.claim(facts()):
        store.add({"run_id": "a"})
    assert list(store.by_run()) == ["a"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"seeds": 2}, "seeds"),
        ({"heads": ["hadamard"]}, "heads"),
        ({"recipe": {"lr": 0.123, "epochs": 2}}, r"recipe\.lr"),
        ({"data": "mnist"}, "data"),
    ],
)
def test_another_configuration_is_refused_by_its_first_difference(tmp_path, change, word):
    with RunStore(tmp_path).claim(facts()):
        pass
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(RequestError, match=word), RunStore(tmp_path).claim(facts(**change)):
        pass
    assert (tmp_path / "config.json").read_bytes() == before


def test_someone_elses_files_are_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RequestError, match=r"thesis\.tex"), RunStore(tmp_path).claim(facts()):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_someone_elses_config_json_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"my": "settings"}))
    with pytest.raises(RequestError, match="schema"):
        RunStore(tmp_path).refuse_foreign(facts())


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "out"
    path.write_text("")
    with pytest.raises(RequestError, match="folder"), RunStore(path).claim(facts()):
        pass


def test_a_second_process_is_kept_out(tmp_path):
    first, second = RunStore(tmp_path), RunStore(tmp_path)
    with first.claim(facts()), pytest.raises(RequestError, match="at work"), second.claim(facts()):
        pass

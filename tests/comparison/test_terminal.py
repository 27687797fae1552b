"""What a person sees of several runs at once."""

import io
import json
import os

import pytest
from rich.console import Console

from fixhead import RequestError
from fixhead.comparison import Comparison
from fixhead.comparison.folder import folder_facts
from fixhead.comparison.terminal import (
    ComparisonProgress,
    RunProgress,
    overview_table,
    read_overview,
    show_outcome,
    show_run,
    watch,
)
from fixhead.training.recipe import Recipe

ROW = {
    "epoch": 1, "train_loss": 0.5, "train_accuracy": 0.8, "val_accuracy": 0.75,
    "images_per_second": 1000.0, "collapse": {"points": [[0.0, 1.0]]},
}  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self):
        return True


def finished(run_id, **more):
    return {
        "schema": "fixhead.run/1", "run_id": run_id, "status": "done", "val_accuracy": 0.75,
        "test_accuracy": 0.7, "train_seconds": 1.5,
    } | more  # fmt: skip


def two_runs_at_once(stream):
    shown = ComparisonProgress(stream)
    shown.begin(5, 3)
    for run_id in ("simplex-seed0", "hadamard-seed0"):
        shown.hear(run_id, "begin", 1, 20, 0)
    shown.hear("hadamard-seed0", "report", 1, 10, 0.9, 500.0)
    shown.hear("simplex-seed0", "epoch", ROW)
    shown.hear("simplex-seed0", "end")
    shown.recorded(finished("simplex-seed0"))
    shown.hear("hadamard-seed0", "lost")
    shown.say("hadamard-seed0: its process died; it is begun again.")
    shown.hear("hadamard-seed0", "begin", 1, 20, 0)
    shown.hear("hadamard-seed0", "end")
    shown.recorded(finished("hadamard-seed0"))
    return stream.getvalue()


def test_lines_name_the_run_that_they_are_of():
    said = two_runs_at_once(io.StringIO()).splitlines()
    assert said[0] == "3 of 5 runs are done already; carrying on."
    assert said[1].startswith("[4/5] simplex-seed0: epoch 1/1, loss 0.5000")
    assert said[2] == "[4/5] simplex-seed0: validation 75.00 %, test 70.00 % in 1.5 s"
    assert said[-1] == "[5/5] hadamard-seed0: validation 75.00 %, test 70.00 % in 1.5 s"


def test_a_terminal_has_a_bar_for_each_run_in_one_table():
    said = two_runs_at_once(Terminal())
    both = [part for part in said.split("\x1b[2K") if "simplex-seed0" in part]
    assert any("hadamard-seed0" in part for part in both)
    assert "its process died; it is begun again." in said
    assert "[5/5] hadamard-seed0: validation 75.00 %, test 70.00 % in 1.5 s" in said


@pytest.mark.parametrize("error", ["Traceback …\nValueError: broke", "its process died, 3 times"])
def test_a_failed_run_is_told_by_the_last_line_of_its_error(error):
    stream = io.StringIO()
    shown = ComparisonProgress(stream)
    shown.begin(1, 0)
    shown.recorded(finished("a-seed0", status="failed", error=error))
    assert stream.getvalue() == f"[1/1] a-seed0 failed: {error.splitlines()[-1]}\n"


def test_what_a_run_tells_is_seldom_and_holds_no_pictures():
    told = []
    progress = RunProgress(lambda *message: told.append(message), every_s=1000.0)
    progress.begin(1, 20, 0)
    assert not progress.due()
    progress.epoch(ROW)
    assert "collapse" not in told[1][1]
    assert told[1][1]["val_accuracy"] == 0.75
    assert RunProgress(lambda *message: None, every_s=0.0).due()


NOW = 2_000_000_000.0


def write_lines(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def begin_run(folder, run_id, epochs, written_at, seconds=10.0):
    """A run's folder as it is while it runs."""
    path = folder / "runs" / run_id / "history.jsonl"
    write_lines(path, [{"epoch": e + 1, "seconds": seconds} for e in range(epochs)])
    os.utime(path, (written_at, written_at))


@pytest.fixture
def half_done(tmp_path):
    """Two heads, two seeds, four epochs of ten seconds: one run done, one failed, two begun."""
    comparison = Comparison(heads=("learned-dot", "simplex"), seeds=2, recipe=Recipe(epochs=4))
    (tmp_path / "config.json").write_text(json.dumps(folder_facts(comparison)))
    config = {"choose_on": "accuracy"}
    done = {"run_id": "learned-dot-seed0", "status": "done", "test_accuracy": 0.9}
    failed = {"run_id": "simplex-seed0", "status": "failed", "test_accuracy": None}
    write_lines(tmp_path / "runs.jsonl", [done | {"config": config}, failed | {"config": config}])
    begin_run(tmp_path, "learned-dot-seed0", 4, NOW - 100)
    begin_run(tmp_path, "learned-dot-seed1", 3, NOW - 5)
    begin_run(tmp_path, "simplex-seed1", 1, NOW - 1000)
    return tmp_path


def shown(table, width=100):
    stream = io.StringIO()
    Console(file=stream, width=width).print(table)
    return stream.getvalue()


def test_an_overview_counts_runs_and_shows_means_and_epochs(half_done):
    said = shown(overview_table(read_overview(half_done, NOW)))
    assert "digits, small-cnn: 2 of 4 runs done, 1 at work, about 40 s left" in said
    (dot,) = (line for line in said.splitlines() if "learned-dot" in line)
    (simplex,) = (line for line in said.splitlines() if "simplex" in line)
    assert "1 of 2" in dot
    assert "90.00" in dot
    assert "seed1: epoch 3 of 4" in dot
    assert "stopped" not in dot
    assert "1 of 2, 1 failed" in simplex
    assert "seed1: epoch 1 of 4, stopped" in simplex


def test_the_time_left_is_shared_among_the_runs_at_work(half_done):
    assert read_overview(half_done, NOW).seconds_left == pytest.approx(10.0 + 3 * 10.0)
    begin_run(half_done, "simplex-seed1", 1, NOW - 5, seconds=30.0)
    assert read_overview(half_done, NOW).seconds_left == pytest.approx((10.0 + 3 * 30.0) / 2)
    assert read_overview(half_done, NOW + 1000).seconds_left is None


def test_tuning_runs_are_counted_and_watching_once_writes_nothing(half_done, capsys):
    tuned = Comparison(heads=("simplex",), seeds=1, tune=(0.1, 0.2))
    (half_done / "config.json").write_text(json.dumps(folder_facts(tuned)))
    write_lines(half_done / "tuning.jsonl", [{"run_id": "simplex-seed0-lr0.1", "status": "done",
                                              "config": {"choose_on": "accuracy"}}])  # fmt: skip
    before = sorted(half_done.rglob("*"))
    stream = io.StringIO()
    watch(half_done, once=True, console=Console(file=stream, width=100))
    assert "2 of 3 runs done" in stream.getvalue()
    assert sorted(half_done.rglob("*")) == before


def test_watching_ends_when_all_runs_are_done(half_done):
    rows = [
        {"run_id": f"{head}-seed{seed}", "status": "done", "test_accuracy": 0.5,
         "config": {"choose_on": "balanced_accuracy"}, "balanced_accuracy": 0.25}
        for head in ("learned-dot", "simplex") for seed in (0, 1)
    ]  # fmt: skip
    write_lines(half_done / "runs.jsonl", rows)
    stream = io.StringIO()
    watch(half_done, every_s=0.01, console=Console(file=stream, width=100))
    assert "4 of 4 runs done" in stream.getvalue()
    assert "balanced accuracy so far" in stream.getvalue()
    assert "25.00" in stream.getvalue()


def test_a_folder_that_is_no_comparison_cannot_be_watched(tmp_path):
    with pytest.raises(RequestError, match=r"config\.json is missing"):
        watch(tmp_path, once=True)


def outcome(**more):
    spread = {"mean": 0.9, "std": 0.01, "values": [], "seeds": []}
    arm = {"head": "learned-dot", "n": 3, "failed": 0}
    arms = [arm | {"test_accuracy": spread, "last_epoch_accuracy": spread}]
    return {"metric": "test_accuracy", "arms": arms, "notes": [], "against": None} | more


def against(n, p_value):
    difference = {"mean": 0.222, "ci95": [0.174, 0.27]}
    simplex = {"head": "simplex", "difference": difference, "p_value": p_value}
    return {
        "baseline": "learned-dot", "test": "dunnett", "n": n, "deviation": 0.02,
        "unequal_p_value": 0.4, "detectable": 0.06, "left_out": [],
        "arms": [simplex, simplex | {"head": "auto"}],
    }  # fmt: skip


def test_the_outcome_prints_every_difference_from_the_baseline_with_its_interval(capsys, tmp_path):
    show_outcome(outcome(against=against(3, 0.0004)), tmp_path)
    said = capsys.readouterr().out
    assert "minus learned-dot" in said
    assert "+22.20 points" in said
    assert "+17.40 … +27.00" in said
    assert "0.0004" in said
    assert "Dunnett's comparison of 2 heads with learned-dot" in " ".join(said.split())


def test_the_outcome_says_which_heads_are_practically_equal_and_within_what(capsys, tmp_path):
    held = against(3, 0.4) | {"margin": 0.015}
    for arm, equal in zip(held["arms"], (True, False), strict=True):
        arm |= {"equivalence_p_value": 0.01, "practically_equal": equal}
    show_outcome(outcome(against=held), tmp_path)
    said = " ".join(capsys.readouterr().out.split())
    assert "Practically equal, within ±1.5 points of learned-dot: simplex (p < 0.05" in said
    for arm in held["arms"]:
        arm["practically_equal"] = False
    show_outcome(outcome(against=held), tmp_path)
    assert "No head is shown to be within ±1.5 points" in " ".join(capsys.readouterr().out.split())


def test_two_seeds_have_intervals_and_no_p(capsys, tmp_path):
    show_outcome(outcome(against=against(2, 0.0004)), tmp_path)
    said = capsys.readouterr().out
    assert "+17.40 … +27.00" in said
    assert "0.0004" not in said


def test_an_error_with_brackets_is_shown_as_it_is(tmp_path, capsys):
    show_run({"status": "failed", "error": "RuntimeError: [/src/pair.cc:537] closed"}, tmp_path)
    assert "[/src/pair.cc:537] closed" in capsys.readouterr().out

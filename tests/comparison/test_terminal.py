"""What a person sees of several runs at once."""

import io

import pytest

from fixhead.comparison.terminal import ComparisonProgress, RunProgress

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

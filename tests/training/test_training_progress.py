"""What a person sees: lines, a bar on a terminal, or nothing."""

from __future__ import annotations

import io
import itertools
import re
import subprocess
import sys

import pytest
from training_toys import blobs, tiny

from fixhead.training import Progress, Recipe, SilentProgress, progress_for, train
from fixhead.training.progress import BarProgress, LineProgress

RECIPE = Recipe(epochs=3, batch_size=16, lr=0.05)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(progress: Progress) -> None:
    train(tiny(), blobs(), blobs(), RECIPE, seed=0, device="cpu", progress=progress)


def test_the_kind_follows_the_stream() -> None:
    assert isinstance(progress_for(None), SilentProgress)
    assert isinstance(progress_for("run", io.StringIO()), LineProgress)
    assert isinstance(progress_for("run", Terminal()), BarProgress)


def test_without_a_title_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    run(progress_for(None))
    assert capsys.readouterr() == ("", "")


def test_lines_go_to_standard_error_and_end_with_the_last_epoch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(progress_for("[1/18] run"))
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("[1/18] run: epoch 3/3, loss ")
    for word in (", training ", ", validation ", " images/s, 0:00 left"):
        assert word in line


def test_lines_come_no_more_often_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    clock = itertools.count(0, 1)  # a second for every look at the clock
    monkeypatch.setattr("fixhead.training.progress.time.monotonic", lambda: float(next(clock)))
    run(LineProgress("run", stream, every_s=6.0))
    lines = stream.getvalue().splitlines()
    assert len(lines) <= 4  # of 12 steps and 3 epochs
    form = r"run: epoch \d/3, step \d/4, loss [\d.]+, [\d,]+ images/s, \S+ left"
    assert re.fullmatch(form, lines[0])
    assert lines[-1].startswith("run: epoch 3/3, loss ")


def test_a_resumed_run_says_so() -> None:
    stream = io.StringIO()
    lines = LineProgress("run", stream)
    lines.begin(epochs=10, steps=5, done=4)
    assert stream.getvalue() == "run: carries on after epoch 4\n"


def test_a_terminal_gets_a_bar_with_loss_accuracy_pace_and_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    run(BarProgress("[2/18] run", stream, every_s=0.0))
    shown = stream.getvalue()
    for word in ("[2/18] run", "epoch 3/3", "loss ", "val ", " img/s", " left", "100 %"):
        assert word in shown


def test_the_bar_is_taken_down_when_training_breaks() -> None:
    stream = Terminal()
    bar = BarProgress("run", stream, every_s=0.0)

    def stop(row: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny(), blobs(), None, RECIPE, seed=0, device="cpu", progress=bar, on_epoch=stop)
    assert bar._bar is None
    assert stream.getvalue().rstrip("\r").count("\x1b[?25h") == 1  # the cursor is shown again


def test_plain_lines_never_import_rich() -> None:
    code = (
        "import io, sys, fixhead.training as t\n"
        "t.progress_for('run', io.StringIO()).begin(1, 1, 0)\n"
        "sys.exit('rich.progress' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

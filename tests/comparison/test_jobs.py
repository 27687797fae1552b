"""Several runs of a comparison at once: the results of one after another, whatever dies."""

import os
import signal
from pathlib import Path

import pytest
from forked import finish, histories, options, rows, save_points, start, wait_until

from fixhead.cli import run
from fixhead.runs.store import RunStore, read_config

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes in /proc")

RUNS = "--heads random-cosine@20,simplex --tune lr=0.05,0.1 --seeds 2 --epochs 30".split()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_points(tmp_path_factory.mktemp("data") / "points.npz")


def in_order(path):
    """Several processes finish their runs in any order."""
    return sorted(rows(path), key=lambda row: row["run_id"])


def check_equal(out, reference):
    for file in ("runs.jsonl", "tuning.jsonl"):
        assert in_order(out / file) == in_order(reference / file)
    assert (out / "results.json").read_bytes() == (reference / "results.json").read_bytes()
    assert histories(out) == histories(reference)
    for model in reference.glob("runs/*/model.safetensors"):
        assert (out / model.relative_to(reference)).read_bytes() == model.read_bytes()
    assert not list(out.glob("runs/*/checkpoint"))
    assert (out / "report.html").exists()


@pytest.fixture(scope="module")
def one_by_one(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "out"
    assert finish(options(data, out, *RUNS, "--jobs", "1")) == 0
    return out


def workers(process):
    """The processes that do its runs."""
    pid = process.pid
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def begun(out, epochs=1):
    """Runs that have so many epochs behind them and no record yet."""
    found = [path for path in out.glob("runs/*/history.jsonl") if path.stat().st_size]
    done = sum(len(rows(out / f)) for f in ("runs.jsonl", "tuning.jsonl") if (out / f).exists())
    return len(found) - done


def test_a_killed_process_changes_nothing_in_the_results(data, one_by_one, tmp_path):
    out, said = tmp_path / "out", tmp_path / "said"
    process = start(options(data, out, *RUNS, "--jobs", "2"), said)
    wait_until(lambda: begun(out) > 0, process)
    os.kill(workers(process)[0], signal.SIGKILL)
    process.join()
    assert process.exitcode == 0
    assert "its process died; it is begun again" in said.read_text()
    check_equal(out, one_by_one)


def test_the_asking_process_killed_and_started_again_repeats_nothing(data, one_by_one, tmp_path):
    out = tmp_path / "out"
    process = start(options(data, out, *RUNS, "--jobs", "2"))
    wait_until(lambda: (out / "runs.jsonl").exists() and begun(out) > 0, process)
    process.kill()
    process.join()
    before = (out / "runs.jsonl").read_bytes()
    before = before[: before.rfind(b"\n") + 1]
    assert finish(options(data, out, *RUNS, "--jobs", "2")) == 0
    assert (out / "runs.jsonl").read_bytes().startswith(before)
    check_equal(out, one_by_one)


def test_a_second_command_on_the_folder_refuses(data, one_by_one, capsys):
    with RunStore(one_by_one).claim(read_config(one_by_one)):
        assert run(options(data, one_by_one, *RUNS, "--jobs", "2")) == 2
    assert "at work" in capsys.readouterr().err


def test_a_run_that_raises_is_recorded_with_its_traceback_and_the_others_finish(data, tmp_path):
    chosen = "--heads learned-dot,random-cosine@1 --seeds 1 --epochs 5 --lr 1e8 --weight-decay 0"
    assert run(options(data, tmp_path / "out", *chosen.split(), "--jobs", "2")) == 1
    failed, finished = in_order(tmp_path / "out" / "runs.jsonl")
    assert failed["head"] == "learned-dot"
    assert failed["status"] == "failed"
    assert "Traceback" in failed["error"]
    assert "NonFiniteLossError" in failed["error"]
    assert finished["status"] == "done"

"""Several runs of a comparison at once: the results of one after another, whatever dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fixhead.cli import run
from fixhead.runs.store import RunStore, read_config

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes in /proc")

OPTIONS = "--heads random-cosine@20,simplex --tune lr=0.05,0.1 --seeds 2 --epochs 2 --device cpu"
TIMES = {
    "train_seconds", "images_per_second", "peak_memory_bytes", "started_at", "seconds", "commit",
}  # fmt: skip


def command(out, jobs, options=OPTIONS):
    base = [sys.executable, "-m", "fixhead", "compare", "--out", str(out), "--jobs", str(jobs)]
    return [*base, *options.split(), "--checkpoint-every", "0"]


def rows(path):
    """The records by run; what says when, where and how fast is left out."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [{name: row[name] for name in row if name not in TIMES} for row in found]
    return sorted(kept, key=lambda row: (row.get("run_id", ""), row.get("epoch", 0)))


def histories(out):
    return {path.parent.name: rows(path) for path in out.glob("runs/*/history.jsonl")}


def check_equal(out, reference):
    for file in ("runs.jsonl", "tuning.jsonl"):
        assert rows(out / file) == rows(reference / file)
    assert (out / "results.json").read_bytes() == (reference / "results.json").read_bytes()
    assert histories(out) == histories(reference)
    for model in reference.glob("runs/*/model.safetensors"):
        assert (out / model.relative_to(reference)).read_bytes() == model.read_bytes()
    assert not list(out.glob("runs/*/checkpoint"))
    assert (out / "report.html").exists()


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "out"
    subprocess.run(command(out, 1), check=True, capture_output=True)
    return out


def children(pid):
    """The processes that a process started for its runs."""
    task = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        pids = [int(one) for one in task.read_text().split()]
        return [one for one in pids if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]
    except OSError:
        return []


def wait_until(true, process, seconds=300):
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, "it ended before it could be disturbed"
        assert time.monotonic() < end
        time.sleep(0.02)


def begun(out, epochs=1):
    """Runs that have so many epochs behind them and no record yet."""
    found = [path for path in out.glob("runs/*/history.jsonl") if path.stat().st_size]
    done = sum(len(rows(out / f)) for f in ("runs.jsonl", "tuning.jsonl") if (out / f).exists())
    return len(found) - done


@pytest.mark.slow
def test_a_killed_process_changes_nothing_in_the_results(one_by_one, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(command(out, 2), stderr=subprocess.PIPE, text=True)
    wait_until(lambda: begun(out) > 0, process)
    victim = children(process.pid)[0]
    os.kill(victim, signal.SIGKILL)
    _, told = process.communicate()
    assert process.returncode == 0
    assert "its process died; it is begun again" in told
    check_equal(out, one_by_one)


@pytest.mark.slow
def test_the_asking_process_killed_and_started_again_repeats_nothing(one_by_one, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(command(out, 2), stderr=subprocess.DEVNULL)
    wait_until(lambda: (out / "runs.jsonl").exists() and begun(out) > 0, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = (out / "runs.jsonl").read_bytes()
    before = before[: before.rfind(b"\n") + 1]
    subprocess.run(command(out, 2), check=True, capture_output=True)
    assert (out / "runs.jsonl").read_bytes().startswith(before)
    check_equal(out, one_by_one)


def test_a_second_command_on_the_folder_refuses(one_by_one, capsys):
    with RunStore(one_by_one).claim(read_config(one_by_one)):
        assert run(command(one_by_one, 2)[3:]) == 2
    assert "at work" in capsys.readouterr().err


def test_a_run_that_raises_is_recorded_with_its_traceback_and_the_others_finish(tmp_path):
    options = "--heads learned-dot,random-cosine@1 --seeds 1 --epochs 1 --lr 1e4 --device cpu"
    done = subprocess.run(command(tmp_path / "out", 2, options), capture_output=True, text=True)
    assert done.returncode == 1
    failed, finished = rows(tmp_path / "out" / "runs.jsonl")
    assert failed["head"] == "learned-dot"
    assert failed["status"] == "failed"
    assert "Traceback" in failed["error"]
    assert "NonFiniteLossError" in failed["error"]
    assert finished["status"] == "done"

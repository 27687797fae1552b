"""A comparison killed at random moments and started again ends as an undisturbed one."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest

OPTIONS = "--heads random-cosine@20,learned-dot,simplex --seeds 2 --epochs 4 --device cpu".split()
OPTIONS += ["--checkpoint-every", "0"]
# What says when and at what speed; the commit may move under a working copy.
NOT_COMPARED = {
    "train_seconds", "images_per_second", "peak_memory_bytes", "started_at", "seconds", "commit",
}  # fmt: skip


def command(out):
    return [sys.executable, "-m", "fixhead", "compare", "--out", str(out), *OPTIONS]


def rows(path):
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in NOT_COMPARED} for row in records]


def histories(out):
    return {path.parent.name: rows(path) for path in sorted(out.glob("runs/*/history.jsonl"))}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    start = time.monotonic()
    subprocess.run(command(out), check=True, capture_output=True)
    return out, time.monotonic() - start


def kill_and_finish(out, kills, seconds, seed):
    draw = random.Random(seed)
    killed = 0
    for _ in range(kills):
        process = subprocess.Popen(
            command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=draw.uniform(0.2, 0.9) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
    subprocess.run(command(out), check=True, capture_output=True)
    return killed


def check_equal(out, reference):
    assert (out / "results.json").read_text() == (reference / "results.json").read_text()
    assert rows(out / "runs.jsonl") == rows(reference / "runs.jsonl")
    assert histories(out) == histories(reference)
    assert not list(out.glob("runs/*/checkpoint"))
    assert (out / "report.html").exists()


def test_three_kills_give_the_results_of_an_undisturbed_run(undisturbed, tmp_path):
    reference, seconds = undisturbed
    killed = kill_and_finish(tmp_path / "out", 3, seconds, seed=1)
    assert killed >= 1, "no run was long enough to be killed"
    check_equal(tmp_path / "out", reference)


@pytest.mark.slow
def test_ten_kills_give_the_results_of_an_undisturbed_run(undisturbed, tmp_path):
    reference, seconds = undisturbed
    killed = kill_and_finish(tmp_path / "out", 10, seconds, seed=2)
    assert killed >= 3
    check_equal(tmp_path / "out", reference)


def test_started_again_it_repeats_nothing(undisturbed):
    reference, _ = undisturbed
    before = (reference / "runs.jsonl").read_bytes()
    subprocess.run(command(reference), check=True, capture_output=True)
    assert (reference / "runs.jsonl").read_bytes() == before

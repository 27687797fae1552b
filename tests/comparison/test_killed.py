"""A comparison killed at random moments and started again ends as an undisturbed one."""

import random
import sys
import time

import pytest
from forked import finish, histories, options, rows, save_points, start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")

HEADS = ("--heads", "random-cosine@20,learned-dot,simplex", "--seeds", "2", "--epochs", "25")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_points(tmp_path_factory.mktemp("data") / "points.npz")


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(["--version"])  # the server is there, and has imported everything
    begin = time.monotonic()
    assert finish(options(data, folder / "out", *HEADS, "--jobs", "1")) == 0
    return folder / "out", time.monotonic() - begin


def kill_and_finish(data, out, kills, seconds, seed):
    draw, command = random.Random(seed), options(data, out, *HEADS, "--jobs", "1")
    killed = 0
    for _ in range(kills):
        process = start(command)
        process.join(draw.uniform(0.2, 0.9) * seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            killed += 1
    assert finish(command) == 0
    return killed


def check_equal(out, reference):
    assert (out / "results.json").read_text() == (reference / "results.json").read_text()
    assert rows(out / "runs.jsonl") == rows(reference / "runs.jsonl")
    assert histories(out) == histories(reference)
    assert not list(out.glob("runs/*/checkpoint"))
    assert (out / "report.html").exists()


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_kills_give_the_results_of_an_undisturbed_run(data, undisturbed, tmp_path, kills):
    reference, seconds = undisturbed
    killed = kill_and_finish(data, tmp_path / "out", kills, seconds, seed=kills)
    assert killed >= 1, "no run was long enough to be killed"
    check_equal(tmp_path / "out", reference)


def test_started_again_it_repeats_nothing(data, undisturbed):
    reference, _ = undisturbed
    before = (reference / "runs.jsonl").read_bytes()
    assert finish(options(data, reference, *HEADS)) == 0
    assert (reference / "runs.jsonl").read_bytes() == before

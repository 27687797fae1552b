"""A comparison on real Ray clusters of this machine: the results of one process, whatever dies.

A cluster takes half a minute to start on two cores. Skipped where Ray is not installed:
the tests' environment has it only where it is asked for (``pip install ray``).
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ray")
sys.path.insert(0, str(Path(__file__).parents[1] / "comparison"))
from forked import histories, options, rows, save_points

from fixhead import RequestError
from fixhead.runs import on_ray

RAY = [sys.executable, "-m", "ray.scripts.scripts"]
OPEN = {**os.environ, "RAY_AUTH_MODE": "disabled"}
"""No token is made for the user's clusters."""
RUNS = "--heads random-cosine@20,simplex --seeds 2 --epochs 40".split()


def start(arguments, said=os.devnull):
    """The command in a process of its own; what it says goes into the file."""
    with Path(said).open("w") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "fixhead", *arguments], stdout=file, stderr=file, env=OPEN
        )


def finish(arguments, said=os.devnull):
    """The exit status of the command."""
    return start(arguments, said).wait(300)


def wait_until(true, process):
    end = time.monotonic() + 300
    while not true():
        assert process.poll() is None, "it ended before it could be disturbed"
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_points(tmp_path_factory.mktemp("data") / "points.npz")


@pytest.fixture(scope="module")
def one_by_one(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "out"
    assert finish(options(data, out, *RUNS, "--jobs", "1")) == 0
    return out


def check_equal(out, reference):
    """Nothing lost, nothing twice, and the same figures."""
    found, wanted = (
        sorted(rows(folder / "runs.jsonl"), key=lambda row: row["run_id"])
        for folder in (out, reference)
    )
    assert found == wanted
    assert (out / "results.json").read_bytes() == (reference / "results.json").read_bytes()
    assert histories(out) == histories(reference)
    for model in reference.glob("runs/*/model.safetensors"):
        assert (out / model.relative_to(reference)).read_bytes() == model.read_bytes()
    assert not list(out.glob("runs/*/checkpoint"))
    assert not list(out.glob(".*.asked"))


class Nodes:
    """A head node without processors for runs, and others beside it."""

    def __init__(self, folder):
        self.folder = folder
        self.children = []
        self.port = 20_000 + os.getpid() % 10_000
        self.start_head()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def _start(self, *arguments):
        said = self.folder / f"{len(self.children)}.log"
        with said.open("w") as file:
            child = subprocess.Popen(
                [*RAY, "start", "--block", "--disable-usage-stats", *arguments],
                stdout=file, stderr=file, start_new_session=True, env=OPEN,
            )  # fmt: skip
        self.children.append(child)
        wait_until(lambda: "Ray runtime started" in said.read_text(), child)
        return child

    def start_head(self, cpus=0):
        self._start(
            "--head", f"--port={self.port}", f"--num-cpus={cpus}", "--include-dashboard=false"
        )

    def join(self, cpus=1):
        return self._start(f"--address={self.address}", f"--num-cpus={cpus}")

    def kill(self, child):
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()

    def stop(self):
        for child in self.children:
            if child.poll() is None:
                self.kill(child)


@pytest.fixture
def nodes(tmp_path):
    made = Nodes(tmp_path)
    yield made
    made.stop()


@pytest.mark.slow
def test_a_cluster_started_for_it_gives_the_results_of_one_process(data, one_by_one, tmp_path):
    out, said = tmp_path / "out", tmp_path / "said"
    assert finish(options(data, out, *RUNS, "--on", "ray", "--jobs", "2"), said) == 0, (
        said.read_text()
    )
    check_equal(out, one_by_one)


@pytest.mark.slow
def test_a_lost_node_costs_the_runs_that_it_had_and_nothing_else(data, one_by_one, nodes, tmp_path):
    first, _ = nodes.join(), nodes.join()
    out, said = tmp_path / "out", tmp_path / "said"
    process = start(options(data, out, *RUNS, "--on", f"ray:{nodes.address}"), said)
    wait_until(lambda: list(out.glob("runs/*/history.jsonl")), process)
    nodes.kill(first)
    assert process.wait(300) == 0, said.read_text()
    check_equal(out, one_by_one)


@pytest.mark.slow
def test_a_lost_head_ends_the_command_and_the_next_one_repeats_nothing(
    data, one_by_one, nodes, tmp_path
):
    nodes.join()
    out, said = tmp_path / "out", tmp_path / "said"
    process = start(options(data, out, *RUNS, "--on", f"ray:{nodes.address}"), said)
    wait_until(lambda: (out / "runs.jsonl").exists(), process)
    nodes.stop()
    assert process.wait(300) != 0, said.read_text()
    before = (out / "runs.jsonl").read_bytes()
    nodes.start_head(cpus=1)
    assert finish(options(data, out, *RUNS, "--on", f"ray:{nodes.address}"), said) == 0, (
        said.read_text()
    )
    assert (out / "runs.jsonl").read_bytes().startswith(before)
    check_equal(out, one_by_one)


def test_no_cluster_at_the_address_is_one_sentence():
    with (
        pytest.raises(RequestError, match="no cluster answers there"),
        on_ray._cluster(on_ray.RayWorkers(address="127.0.0.1:9")),
    ):
        pass

"""What becomes of a run on a node of a cluster; the clusters themselves are in
``test_ray_clusters.py``."""

import os
import pickle
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fixhead import MissingExtraError, RequestError
from fixhead.cli import run
from fixhead.runs import on_ray
from fixhead.runs.on_ray import RayWorkers, parse_on


@dataclass(frozen=True)
class Plan:
    run_id: str = "one"


@dataclass(frozen=True)
class Runner:
    """Tells a record, and leaves a model, a checkpoint and a lock in the run's folder."""

    folder: Path
    fails: bool = False

    def in_folder(self, folder):
        return replace(self, folder=folder)

    def __call__(self, plan, tell):
        if self.fails:
            raise RequestError("the data points.npz are not there")
        own = self.folder / "runs" / plan.run_id
        (own / "checkpoint").mkdir(parents=True)
        (own / "checkpoint" / "state").write_bytes(b"half")
        (own / ".lock").touch()
        (own / "model.safetensors").write_bytes(b"whole")
        tell("begin", 3)
        tell("record", "runs.jsonl", {"run_id": plan.run_id})

    def failure(self, plan, reason):
        return "runs.jsonl", {"run_id": plan.run_id, "error": reason}


def asked(folder, **changes):
    (folder / ".token").touch()
    return replace(on_ray._Asked(".token", folder, str(Path.cwd()), threads=1), **changes)


def done(runner, request):
    return list(on_ray._do(pickle.dumps(runner), Plan(), request))


def test_on_a_shared_disk_a_run_leaves_its_files_there_and_sends_none(tmp_path):
    messages = done(Runner(tmp_path), asked(tmp_path))
    assert messages == [
        ("ready",),
        ("tell", "begin", 3),
        ("tell", "record", "runs.jsonl", {"run_id": "one"}),
        ("done",),
    ]
    assert (tmp_path / "runs" / "one" / "model.safetensors").read_bytes() == b"whole"


def test_without_a_shared_disk_a_runs_files_come_before_its_record(tmp_path):
    messages = done(Runner(tmp_path), asked(tmp_path, token=".another"))
    assert messages == [
        ("ready",),
        ("tell", "begin", 3),
        ("file", "model.safetensors", b"whole"),
        ("tell", "record", "runs.jsonl", {"run_id": "one"}),
        ("done",),
    ]
    assert not (tmp_path / "runs").exists()


def test_a_node_that_lacks_the_data_is_named(tmp_path):
    *_, (kind, error) = done(Runner(tmp_path, fails=True), asked(tmp_path))
    assert kind == "raised"
    assert str(error) == f"on the node {socket.gethostname()}: the data points.npz are not there"


def test_a_node_with_another_version_is_refused(tmp_path):
    [(kind, error)] = done(Runner(tmp_path), asked(tmp_path, version="0.0.0"))
    assert kind == "raised"
    assert isinstance(error, RequestError)
    assert "needed 0.0.0" in str(error)


def test_a_file_that_leaves_the_runs_folder_is_refused(tmp_path):
    with pytest.raises(RequestError, match="leaves the run's folder"):
        on_ray._put_back(tmp_path / "runs" / "one", "../../config.json", b"")
    assert list(tmp_path.rglob("*.json")) == []


@pytest.mark.parametrize(
    ("text", "address"),
    [("ray", None), ("ray:auto", "auto"), ("ray:10.0.0.1:6379", "10.0.0.1:6379")],
)
def test_an_address_follows_the_word(text, address):
    assert parse_on(text) == address


@pytest.mark.parametrize("text", ["", "ray:", "dask", "rays"])
def test_another_engine_is_refused(text):
    with pytest.raises(RequestError, match=r"--on must be ray .* or ray:ADDRESS"):
        parse_on(text)


@pytest.mark.parametrize(
    "asked_for", [{"cpus": 0}, {"cpus": float("nan")}, {"gpus": -1}, {"gpus": 1.5}, {"jobs": 0}]
)
def test_impossible_resources_are_refused(asked_for):
    with pytest.raises(RequestError, match=r"--run-cpus|--run-gpus|--jobs"):
        RayWorkers(**asked_for)


def test_without_ray_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'pip install "fixhead\[ray\]"'):
        RayWorkers().work_off(Runner(tmp_path), None, 1)


def test_a_runner_that_stays_where_it_is_is_refused():
    with pytest.raises(RequestError, match="does compare and paper"):
        RayWorkers().work_off(object(), None, 1)


def test_processors_of_nodes_need_a_cluster(capsys, tmp_path):
    out = tmp_path / "out"
    assert run(["compare", "--run-cpus", "2", "--out", str(out)]) == 2
    assert "for the nodes of a cluster: see --on" in capsys.readouterr().err
    assert not out.exists()


def test_a_token_that_a_lost_process_left_is_swept_and_that_of_a_living_one_stays(tmp_path):
    host = socket.gethostname()
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    left, living = (tmp_path / f".{host}-{pid}-abc.asked" for pid in (child.pid, os.getppid()))
    left.touch()
    living.touch()
    with on_ray._token(tmp_path) as name:
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([living.name, name])
    assert list(tmp_path.iterdir()) == [living]

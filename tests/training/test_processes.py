"""One run in several processes: the data order and the losses of one, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fixhead import RequestError
from fixhead.cli import run
from fixhead.training.processes import Share, launch

EPOCHS, BATCH = 6, 64


@given(images=st.integers(1, 60), world=st.integers(1, 7))
def test_shares_hold_every_image_once_and_their_mean_is_the_whole_batch_s(images, world):
    shares = [Share(rank, world) for rank in range(world)]
    losses = torch.linspace(-1, 3, images, dtype=torch.float64).cos()
    right = torch.arange(images) % 3 == 0
    parts = [share.slice(images) for share in shares]
    both = list(zip(shares, parts, strict=True))
    if images >= 2 * world:
        held = sorted(index for part in parts for index in range(images)[part])
        assert held == list(range(images))
    weighted = [share.factor(images) * losses[part].mean() for share, part in both]
    torch.testing.assert_close(torch.stack(weighted).mean(), losses.mean())
    hits = [share.hits(right[part], images).double() for share, part in both]
    assert float(torch.stack(hits).mean()) == pytest.approx(int(right.sum()))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """700 points around eight means: nine steps an epoch, the last one smaller."""
    draw = np.random.default_rng(0)
    labels = np.arange(700) % 8
    features = draw.normal(size=(700, 12)) + 1.5 * draw.normal(size=(8, 12))[labels]
    path = tmp_path_factory.mktemp("data") / "points.npz"
    np.savez(path, features=features.astype(np.float32), labels=labels)
    return path


def options(data, out, epochs=EPOCHS):
    chosen = ["--data", str(data), "--neck", "linear", "--features", "9", "--head", "learned-dot"]
    chosen += ["--epochs", str(epochs), "--batch-size", str(BATCH), "--lr", "0.05"]
    return [*chosen, "--device", "cpu", "--threads", "1", "--out", str(out),
            "--checkpoint-every", "0"]  # fmt: skip


def start(data, arguments, variables=None, launcher=("fixhead",)):
    environment = os.environ | {"FIXHEAD_CACHE": str(data.parent / "cache")} | (variables or {})
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, "train", *arguments],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def train(data, out, *more, launcher=("fixhead",), epochs=EPOCHS):
    process = start(data, [*options(data, out, epochs), *more], launcher=launcher)
    _, told = process.communicate(timeout=300)
    return process.returncode, told


def history(out):
    (path,) = out.glob("runs/*/history.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def check_close(out, expected):
    """The same epochs, within 1e-5, by the same images in the same order."""
    found = history(out)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for name in ("train_loss", "val_loss"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-5)
        for name in ("train_accuracy", "val_accuracy"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-9)
    (row,) = [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]
    assert row["status"] == "done"
    return row


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """The epochs of one process: more than fifty steps."""
    out = tmp_path_factory.mktemp("alone") / "out"
    assert run(["train", *options(data, out)]) == 0
    return history(out)


def test_two_processes_end_where_one_does(data, alone, tmp_path):
    code, told = train(data, tmp_path / "out", "--devices", "2")
    assert code == 0, told
    row = check_close(tmp_path / "out", alone)
    assert row["processes"] == 2
    assert not list((tmp_path / "out").glob("runs/*/checkpoint"))
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.slow
def test_torchrun_starts_them_too(data, alone, tmp_path):
    launcher = ("torch.distributed.run", "--nproc-per-node", "2", "-m", "fixhead")
    code, told = train(data, tmp_path / "out", launcher=launcher)
    assert code == 0, told
    check_close(tmp_path / "out", alone)


@pytest.mark.slow
def test_two_machines_train_one_model(data, alone, tmp_path):
    """Two commands on this machine stand for them; the second one has no disk in common."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    meet = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    processes = [
        start(data, [*options(data, tmp_path / node), "--nodes", "2"], meet | {"NODE_RANK": node})
        for node in ("0", "1")
    ]
    told = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    check_close(tmp_path / "0", alone)
    assert not (tmp_path / "1").exists()


def rank_of(pid):
    for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
        if line.startswith(b"RANK="):
            return int(line[5:])
    return None


def children(pid):
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {rank_of(child): int(child) for child in found}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes in /proc")
@pytest.mark.parametrize(("victim", "devices_after"), [(0, 3), (1, 1)])
def test_a_killed_process_ends_the_run_with_a_sentence_and_any_number_goes_on(
    data, tmp_path, victim, devices_after
):
    epochs, out = 60, tmp_path / "out"
    process = start(data, [*options(data, out, epochs), "--devices", "2"])
    end = time.monotonic() + 120
    while not list(out.glob("runs/*/checkpoint/state.pt")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(children(process.pid)[victim], signal.SIGKILL)
    _, told = process.communicate(timeout=120)
    said = [line for line in told.splitlines() if line.startswith("fixhead: ")]
    assert process.returncode == 1
    assert "Traceback" not in told
    assert said == [
        f"fixhead: process {victim} of 2 was ended by signal 9, and the others with it; the same "
        "command goes on from the last checkpoint"
    ]
    code, told = train(data, out, "--devices", str(devices_after), epochs=epochs)
    assert code == 0, told
    assert "carries on after epoch" in told
    whole = tmp_path / "whole"
    assert run(["train", *options(data, whole, epochs)]) == 0
    check_close(out, history(whole))


def test_several_machines_need_a_place_to_meet(data, tmp_path, monkeypatch, capsys):
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert run(["train", *options(data, tmp_path / "out"), "--nodes", "2"]) == 2
    assert "MASTER_ADDR is missing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_more_gpus_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(RequestError, match="--devices 4 needs as many GPUs, got 1"):
        launch("cuda", 4, 1)


def test_devices_that_torchrun_did_not_start_are_refused(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert run(["train", *options(data, tmp_path / "out"), "--devices", "3"]) == 2
    assert "--devices 3 among 2 processes" in capsys.readouterr().err

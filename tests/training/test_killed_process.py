"""A real process, really killed, as often as it takes to finish."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

PROGRAM = """
import sys, time, torch
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from training_toys import blobs, tiny
from fixhead.training import Recipe, train

torch.set_num_threads(1)
folder = Path(sys.argv[2])
result = train(
    tiny(), blobs(), blobs(shuffle=False), Recipe(epochs=200, lr=0.05, batch_size=16),
    seed=0, device="cpu", run_dir=folder, checkpoint_every_s=0.0,
    on_epoch=lambda row: print(row["epoch"], flush=True),
)
torch.save({"last": result.last_state, "best": result.best_state}, folder / "result.pt")
"""


def start(folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    arguments = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(folder)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    start(undisturbed).communicate(timeout=120)
    draws, kills = random.Random(0), 0
    for _ in range(6):
        process = start(killed)
        assert process.stdout is not None
        process.stdout.readline()  # it trains
        time.sleep(draws.uniform(0.0, 0.3))
        kills += process.poll() is None
        process.kill()
        process.wait()
        process.stdout.close()
    start(killed).communicate(timeout=120)
    assert kills > 0
    theirs = torch.load(undisturbed / "result.pt", weights_only=True)
    ours = torch.load(killed / "result.pt", weights_only=True)
    for part in ("last", "best"):
        assert all(torch.equal(ours[part][name], theirs[part][name]) for name in theirs[part])
    rows = [
        len((folder / "history.jsonl").read_text().splitlines()) for folder in (undisturbed, killed)
    ]
    assert rows == [200, 200]

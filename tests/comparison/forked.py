"""Comparisons in real processes that can be killed, forked from a server that has imported all."""

import json
import multiprocessing
import sys
import time
from pathlib import Path

import numpy as np

from fixhead.cli import run
from fixhead.runs import pool

# What says when and at what speed; the commit may move under a working copy.
TIMES = {
    "train_seconds", "images_per_second", "peak_memory_bytes", "started_at", "seconds", "commit",
}  # fmt: skip


def save_points(path):
    """240 points around four means: an epoch takes milliseconds, and there are many of them."""
    draw = np.random.default_rng(0)
    labels = np.arange(240) % 4
    features = draw.normal(size=(240, 6)) + 1.5 * np.eye(4, 6)[labels]
    np.savez(path, features=features.astype(np.float32), labels=labels)
    return path


def options(data, out, *more):
    chosen = ["compare", "--data", str(data), "--neck", "linear", "--features", "6"]
    return [*chosen, "--device", "cpu", "--out", str(out), "--checkpoint-every", "0", *more]


def start(arguments, errors=None):
    """The command in a process of its own; standard error goes into the file ``errors``.

    The processes that do its runs are forked from it, for nothing is to be imported again.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fixhead.comparison.run", "fixhead.comparison.job"])
    process = context.Process(target=_command, args=(arguments, errors))
    process.start()
    return process


def finish(arguments, errors=None):
    """The exit status of the command."""
    process = start(arguments, errors)
    process.join()
    return process.exitcode


def _command(arguments, errors):
    pool.processes_with = lambda *modules: multiprocessing.get_context("fork")
    if errors is None:
        sys.exit(run(arguments))
    with Path(errors).open("w", buffering=1) as sys.stderr:
        sys.exit(run(arguments))


def wait_until(true, process, seconds=300):
    end = time.monotonic() + seconds
    while not true():
        assert process.exitcode is None, "it ended before it could be disturbed"
        assert time.monotonic() < end
        time.sleep(0.01)


def rows(path):
    """The records in their order; what says when, where and how fast is left out."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in records]


def histories(out):
    return {path.parent.name: rows(path) for path in sorted(out.glob("runs/*/history.jsonl"))}

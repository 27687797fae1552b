"""A head's step over very many classes on a GPU: time, memory, and against plain.

The reference ``plain`` is F.linear + F.cross_entropy with the same frozen matrix, in half precision
under autocast; ``plain-half`` has its logits and its loss in half precision too. ``chunked`` is the
stored matrix without logits, ``code`` the codes that are not stored. A record is written after
every cell, a path that fails is recorded with its error, and no cell begins after --seconds.
Goal: chunked at least 1.5 times as fast as plain in bfloat16, without any N × K tensor.

Run: python benchmarks/many_classes_cuda.py            (about a minute on an H100)
     … --device cpu --tiny                      the same cells at small sizes, not for timings
     … --cells short                            the most telling ones, --skip "cce; liger"
     … --cells "NAME; NAME"                     only these; --out FOLDER for the record
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import records
from fixhead import many_classes as scale
from fixhead.bench import timing
from fixhead.bench.rivals import PATHS, Shared, Sizes, measure_alone
from fixhead.bench.timing import Step, seconds
from fixhead.many_classes import blockwise, tiles
from fixhead.many_classes.kronecker import made_tiles

Row = dict[str, Any]

GOAL = 1.5
SAMPLE_S = 0.015
SLOW_S = 0.5
"""A step that takes longer is timed three times only, and says so."""


@dataclass(frozen=True)
class Run:
    """Where, at which fraction of the sizes, and how many rounds."""

    device: str
    rounds: int
    tiny: bool
    skip: tuple[str, ...] = ()

    def sizes(self, classes: int, features: int, rows: int, dtype: str) -> Sizes:
        if self.tiny:
            classes, features, rows = max(classes // 500, 200), 32, max(rows // 64, 1)
        dtype = "float32" if self.device == "cpu" else dtype
        return Sizes(classes, features, rows, self.device, dtype)


Cell = Callable[[Run], Iterator[Row]]


def raced(run: Run, work: dict[str, Step]) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds per call in turn, and of those that fail the error."""
    calls: dict[str, int] = {}
    failed: dict[str, str] = {}
    for name, step in work.items():
        try:
            step()
            once = seconds(step, 1, run.device)
        except Exception as error:  # a rival's trouble is a result too
            failed[name] = _said(error)
            continue
        calls[name] = max(1, round(SAMPLE_S / max(once, 1e-7))) if once < SLOW_S else 0
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(run.rounds):
        for name, times in samples.items():
            if calls[name] or number < 3:
                times.append(seconds(work[name], max(calls[name], 1), run.device))
    return samples, failed


def rows_of(
    samples: dict[str, list[float]], failed: dict[str, str], facts: Row, reference: str = "plain"
) -> Iterator[Row]:
    plain = statistics.median(samples[reference]) if reference in samples else None
    for path, times in samples.items():
        row = {**facts, "path": path, **timing.spread(times), "rounds": len(times)}
        if plain is not None:
            row["ratio_to_plain"] = round(plain / statistics.median(times), 4)
        yield row
    for path, error in failed.items():
        yield {**facts, "path": path, "error": error}


def step(*size: Any, paths: str) -> Cell:
    """Forward, and the gradient to the features (and of learned vectors theirs, with a step)."""

    def cell(run: Run) -> Iterator[Row]:
        sizes = run.sizes(*size)
        alone: dict[str, tuple[int | None, float]] = {}
        failed: dict[str, str] = {}
        for name in paths.split():
            if name in run.skip:
                continue
            try:
                alone[name] = measure_alone(name, sizes)
            except Exception as error:
                failed[name] = _said(error)
            _free(run)
        shared = Shared(sizes)
        work = {}
        for name in alone:
            try:
                work[name] = PATHS[name](shared)
            except Exception as error:
                failed[name] = _said(error)
        samples, more = raced(run, work)
        for row in rows_of(samples, failed | more, {"what": "step", **asdict(sizes)}):
            if row["path"] in alone:
                row["peak_bytes"], row["first_ms"] = alone[row["path"]]
                row["logits_bytes"] = 2 * sizes.rows * sizes.classes  # in half precision
            yield row

    return cell


def top_one(*size: Any) -> Cell:
    """The largest logit of every row."""

    def cell(run: Run) -> Iterator[Row]:
        sizes = run.sizes(*size)
        shared = Shared(sizes)
        x, code, W = shared.features, shared.code, shared.matrix
        work: dict[str, Callable[[], object]] = {
            "plain": lambda: F.linear(x, W).max(dim=1),
            "code": lambda: scale.topk(x, code, 1),
            "stored": lambda: scale.topk(x, W, 1),
        }
        samples, failed = raced(run, work)  # type: ignore[arg-type]
        yield from rows_of(samples, failed, {"what": "top-1", **asdict(sizes)})

    return cell


def top_of(shared: Shared, path: str) -> Step:
    """``top-1 code`` or ``top-1 stored``."""
    held = shared.code if path == "top-1 code" else shared.matrix

    def run() -> None:
        scale.topk(shared.features, held, 1)

    return run


def tile_sizes(*size: Any) -> Cell:
    """Our own paths by the number of logits in a tile."""

    def cell(run: Run) -> Iterator[Row]:
        sizes = run.sizes(*size)
        shared = Shared(sizes)
        before = blockwise.NO_MAX_CELLS
        try:
            for power in range(22, 28):
                blockwise.NO_MAX_CELLS = 1 << power
                work = {name: PATHS[name](shared) for name in ("chunked", "code")}
                samples = raced(replace(run, rounds=min(run.rounds, 5)), work)
                facts = {"what": "tile sizes", "cells": 1 << power, **asdict(sizes)}
                yield from rows_of(*samples, facts)
        finally:
            blockwise.NO_MAX_CELLS = before

    return cell


def precision(*size: Any) -> Cell:
    """Relative errors of loss and gradient against float64, of plain and of our paths."""

    def cell(run: Run) -> Iterator[Row]:
        sizes = run.sizes(*size)
        shared = Shared(sizes)
        y, W = shared.labels, shared.code.dense(torch.float64)
        exact = shared.features.double().requires_grad_()
        true = F.cross_entropy(exact @ W.T, y)
        (pull,) = torch.autograd.grad(true, exact)
        for path in ("plain", "plain-half", "chunked", "code"):
            losses = _heard(path, shared)
            for loss, gradient in losses:
                yield {
                    "what": "against float64",
                    "path": path,
                    **asdict(sizes),
                    "loss_error": abs(loss - float(true.detach())) / float(true.detach()),
                    "gradient_error": float((gradient.double() - pull).norm() / pull.norm()),
                }

    return cell


def _heard(path: str, shared: Shared) -> list[tuple[float, Tensor]]:
    """Loss and gradient of one step of a path."""
    heard: list[tuple[float, Tensor]] = []

    def listen(loss: Callable[[Tensor, Tensor], Tensor]) -> Step:
        def run() -> None:
            x = shared.features.detach().requires_grad_()
            value = loss(x, shared.labels)
            heard.append((float(value.detach()), torch.autograd.grad(value, x)[0]))

        return run

    shared.step = listen  # type: ignore[method-assign]
    PATHS[path](shared)()
    return heard


def pieces(*size: Any) -> Cell:
    """What a walk by bfloat16 logits is made of, each at the size of a tile, and other ways."""

    def cell(run: Run) -> Iterator[Row]:
        sizes = run.sizes(*size)
        shared = Shared(sizes)
        x, packed = shared.features.bfloat16(), shared.code.bits
        classes = min(max(blockwise.NO_MAX_CELLS // sizes.rows, 128), sizes.classes) // 8 * 8
        W = shared.matrix[:classes].bfloat16()
        wide = torch.zeros(sizes.rows, classes + 16, dtype=torch.bfloat16, device=sizes.device)
        z = wide[:, 8:-8]
        ones = torch.ones(classes, 8, dtype=torch.bfloat16, device=sizes.device)
        tall = torch.zeros(classes, sizes.rows, dtype=torch.bfloat16, device=sizes.device)
        made = made_tiles(packed, shared.code.coded)
        last = min(classes, shared.code.coded)
        work: dict[str, Callable[[], object]] = {
            "x W^T": lambda: torch.mm(x, W.t(), out=z),
            "W x^T": lambda: torch.mm(W, x.t(), out=tall),
            "exp": wide.exp_,
            "sum over lines": lambda: z.sum(dim=1, dtype=torch.float32),
            "product with ones": lambda: tiles.matmul(z, ones),
            "sum, classes first": lambda: tall.sum(dim=0, dtype=torch.float32),
            "e^z W": lambda: tiles.matmul(z, W),
            "e^z W, classes first": lambda: tiles.matmul(tall.t(), W),
            "e^z^T x": lambda: tiles.matmul(z.t(), x),
            "make rows": lambda: made.make(0, last),
        }
        samples, failed = raced(run, work)  # type: ignore[arg-type]
        facts = {"what": "pieces", "tile": classes, **asdict(sizes)}
        yield from rows_of(samples, failed, facts, reference="x W^T")

    return cell


def kernels(*size: Any, paths: str = "chunked; code; plain") -> Cell:
    """Where the time of our own steps goes: microseconds by kernel, and the step's own."""

    def cell(run: Run) -> Iterator[Row]:
        from torch.profiler import ProfilerActivity, profile

        sizes = run.sizes(*size)
        shared = Shared(sizes)
        kinds = [ProfilerActivity.CPU]
        kinds += [ProfilerActivity.CUDA] if run.device != "cpu" else []
        for path in paths.split("; "):
            work = top_of(shared, path) if path.startswith("top-1") else PATHS[path](shared)
            for _ in range(3):
                work()
            with profile(activities=kinds) as profiler:
                work()
                _wait(run)
            key = "self_device_time_total" if run.device != "cpu" else "self_cpu_time_total"
            events = sorted(profiler.key_averages(), key=lambda e: -getattr(e, key))
            launches = sum(e.count for e in events if e.key == "cudaLaunchKernel")
            waits = sum(e.count for e in events if "Synchronize" in e.key)
            yield {
                "what": "launches",
                "path": path,
                **asdict(sizes),
                "launches": launches,
                "waits": waits - 1,  # our own, at the end
                "aten": sum(e.count for e in events if e.key.startswith("aten::")),
            }
            for event in events[:14]:
                yield {
                    "what": "kernels",
                    "path": path,
                    **asdict(sizes),
                    "kernel": event.key[:90],
                    "count": event.count,
                    "us": round(getattr(event, key), 1),
                }

    return cell


HALF = "bfloat16"
CELLS: dict[str, Cell] = {
    "bf16 K=100,000": step(
        100_000, 512, 1024, HALF,
        paths="code chunked plain plain-half linear_cross_entropy cce liger",
    ),
    "bf16 K=1,000,000": step(
        1_000_000, 512, 1024, HALF, paths="code chunked plain plain-half cce linear_cross_entropy"
    ),
    "bf16 errors K=100,000": precision(100_000, 512, 64, HALF),
    "float32 errors K=100,000": precision(100_000, 512, 64, "float32"),
    "float32 K=100,000": step(100_000, 512, 1024, "float32", paths="code chunked plain liger"),
    "bf16 K=100,000 d=1024": step(
        100_000, 1024, 1024, HALF, paths="code chunked plain plain-half cce"
    ),
    "pieces bf16 K=100,000": pieces(100_000, 512, 1024, HALF),
    "kernels bf16 K=100,000": kernels(
        100_000, 512, 1024, HALF, paths="chunked; code; plain; learned-chunked"
    ),
    "kernels bf16 K=10,000": kernels(10_000, 512, 1024, HALF, paths="chunked; code"),
    "tiles bf16 K=100,000": tile_sizes(100_000, 512, 1024, HALF),
    "learned bf16 K=100,000": step(
        100_000, 512, 1024, HALF, paths="plain learned learned-chunked learned-adam partial-fc"
    ),
    "bf16 K=10,000,000": step(10_000_000, 512, 1024, HALF, paths="code"),
    "top-1 bf16 N=1": top_one(1_000_000, 512, 1, HALF),
    "top-1 bf16 N=256": top_one(1_000_000, 512, 256, HALF),
    "top-1 float32 N=1": top_one(1_000_000, 512, 1, "float32"),
    "top-1 float32 N=256": top_one(1_000_000, 512, 256, "float32"),
    "top-1 kernels bf16": kernels(1_000_000, 512, 256, HALF, paths="top-1 code"),
    "top-1 kernels float32": kernels(
        1_000_000, 512, 256, "float32", paths="top-1 code; top-1 stored"
    ),
    "bf16 K=10,000": step(10_000, 512, 1024, HALF, paths="code chunked plain plain-half"),
    "bf16 K=30,000": step(30_000, 512, 1024, HALF, paths="code chunked plain plain-half"),
    "bf16 K=100,000 N=128": step(100_000, 512, 128, HALF, paths="code chunked plain plain-half"),
    "learned bf16 K=1,000,000": step(
        1_000_000, 512, 1024, HALF, paths="plain learned learned-chunked learned-adam"
    ),
    "liger bf16 K=1,000,000": step(1_000_000, 512, 1024, HALF, paths="plain liger"),
}  # fmt: skip

SHORT = [
    "bf16 K=100,000", "bf16 K=1,000,000", "bf16 errors K=100,000", "kernels bf16 K=100,000",
    "pieces bf16 K=100,000", "kernels bf16 K=10,000", "tiles bf16 K=100,000", "bf16 K=10,000",
    "float32 K=100,000", "learned bf16 K=100,000", "top-1 bf16 N=1", "top-1 bf16 N=256",
    "top-1 float32 N=1", "top-1 float32 N=256", "top-1 kernels bf16", "top-1 kernels float32",
]  # fmt: skip
"""The most telling cells, in that order: less than a minute."""


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"


def _wait(run: Run) -> None:
    if run.device != "cpu":
        torch.cuda.synchronize(run.device)


def _free(run: Run) -> None:
    gc.collect()
    if run.device != "cpu":
        torch.cuda.empty_cache()


def facts() -> Row:
    """The driver, and the packages that only this record needs."""
    known: Row = {"cuda": torch.version.cuda, "tf32": torch.backends.cuda.matmul.allow_tf32}
    query = "name,driver_version,memory.total,clocks.max.sm,power.limit"
    try:
        command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
        known["nvidia_smi"] = subprocess.check_output(command, text=True, timeout=20).strip()
    except (OSError, subprocess.SubprocessError):
        known["nvidia_smi"] = None
    for package in ("triton", "liger-kernel", "cut-cross-entropy"):
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            known[package] = None
    return known


def goal(rows: list[Row]) -> Row | None:
    """The goal beside what was measured; None where it was not."""
    of = [r for r in rows if r["cell"] == "bf16 K=100,000" and r["path"] == "chunked"]
    if not of or "ratio_to_plain" not in of[0]:
        return None
    return {
        "what": "chunked × plain, bfloat16, K=100,000",
        "must": GOAL,
        "reached": of[0]["ratio_to_plain"],
        "holds_no_logits": of[0]["peak_bytes"] is not None
        and of[0]["peak_bytes"] - 2 * 100_000 * 512 < of[0]["logits_bytes"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--cells", help="only these, by semicolons")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try the script")
    parser.add_argument("--seconds", type=float, default=75.0, help="begin no cell after it")
    parser.add_argument("--skip", default="", help="leave these paths out, by semicolons")
    parser.add_argument("--out", type=Path, help="the folder of the record")
    options = parser.parse_args()
    start = time.monotonic()
    skip = tuple(name.strip() for name in options.skip.split(";"))
    run = Run(options.device, options.rounds, options.tiny, skip)
    asked = list(CELLS)
    if options.cells is not None:
        asked = [name.strip() for name in options.cells.split(";")]
        asked = SHORT if asked == ["short"] else asked
    rows: list[Row] = []
    context: Row = {"tiny": options.tiny, **facts()}
    if options.out is not None:
        records.RESULTS = options.out
    for name in asked:
        if time.monotonic() - start > options.seconds:
            print(f"no time for {name}", flush=True)
            continue
        begun = time.monotonic()
        try:
            for row in CELLS[name](run):
                rows.append({"cell": name, **row})
                print(json.dumps(_short(row)), flush=True)
        except Exception as error:
            rows.append({"cell": name, "error": _said(error)})
            print(name, _said(error), flush=True)
        took = time.monotonic() - begun
        print(f"# {name}: {took:.1f} s", flush=True)
        _free(run)
        if options.out is not None or not options.tiny:
            complete = {row["cell"] for row in rows} == set(CELLS)
            records.write(
                "scale", rows, device=run.device, goal=goal(rows), complete=complete, **context
            )
    print(json.dumps({"goal": goal(rows)}))


def _short(row: Row) -> Row:
    left = ("what", "classes", "features", "rows", "device", "dtype", "min_ms", "max_ms")
    return {key: value for key, value in row.items() if key not in left}


if __name__ == "__main__":
    main()

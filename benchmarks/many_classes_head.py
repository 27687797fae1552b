"""A head's step over very many classes by every path: time, memory, and against plain.

The reference ``plain`` is F.linear + F.cross_entropy with the same frozen matrix stored.
``fixhead bench head`` times single cells in the same way. ``code`` is the pure PyTorch path.
A record is written after every cell; started again on the same day, it carries on. A cell during
which other programs took more than 5 % of the machine is tried again, and its rows are kept apart,
as ``disturbed``.

Run: python benchmarks/many_classes_head.py        (about 20 minutes on 2 cores, 12 GB)
     … --cells "NAME; NAME"                 only these; --seconds 300 begins no cell later
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import records
from fixhead import many_classes as scale
from fixhead.bench import timing
from fixhead.bench.rivals import Sizes, contest

Row = dict[str, Any]
Cell = Callable[[int], Iterator[Row]]

RIVALS = ("plain", "linear_cross_entropy", "partial-fc", "adaptive-softmax")
STEPS: dict[str, tuple[Sizes, tuple[str, ...]]] = {
    "step K=100,000": (Sizes(100_000, 512, 256), RIVALS),
    "step K=100,000 d=1024": (Sizes(100_000, 1024, 256), ("plain",)),
    "step K=10,000,000": (Sizes(10_000_000, 512, 64), ()),
    "step K=100": (Sizes(100, 512, 256), ("plain",)),
    "step K=1,000": (Sizes(1_000, 512, 256), ("plain",)),
    "step K=10,000": (Sizes(10_000, 512, 256), RIVALS),
    "step K=1,000,000": (Sizes(1_000_000, 512, 256), ("plain", "partial-fc")),
}
OTHERS = 0.05
TRIES = 3
QUICK = ("step K=100", "step K=1,000", "top-1 and squared error K=10,000", "starting")


def step(sizes: Sizes, against: tuple[str, ...], rounds: int) -> Iterator[Row]:
    """The training step, in ``contest``'s own records."""
    for path in contest(sizes, against, rounds=rounds):
        yield {"what": "step", **asdict(path)}


def inference(classes: int, rounds: int) -> Iterator[Row]:
    """The largest logit of every row, and the squared error, against their plain forms."""
    vectors = scale.implicit(classes, 512)
    W = vectors.dense()
    for count in (1, 256):
        x = torch.randn(count, 512, generator=torch.Generator().manual_seed(0))
        pairs = {"top-1": _top(vectors, W, x)}
        if count > 1:
            pairs["squared error"] = _squared(vectors, W, x, torch.arange(count))
        for what, contestants in pairs.items():
            samples = timing.interleaved(contestants, rounds=rounds)
            for path, times in samples.items():
                ratio = statistics.median(samples["plain"]) / statistics.median(times)
                row = {"what": what, "path": path, "classes": classes, "features": 512}
                row |= {"rows": count, **timing.spread(times)}
                yield row | {"ratio_to_plain": round(ratio, 4)}


def _top(vectors: scale.ClassVectors, W: Tensor, x: Tensor) -> dict[str, Callable[[], object]]:
    return {
        "plain": lambda: F.linear(x, W).max(dim=1),
        "code": lambda: scale.topk(x, vectors, 1),
        "stored": lambda: scale.topk(x, W, 1),
    }


def _squared(
    vectors: scale.ClassVectors, W: Tensor, x: Tensor, y: Tensor
) -> dict[str, Callable[[], object]]:
    leaf = x.clone().requires_grad_()
    lines = torch.arange(len(x))

    def plain() -> None:
        z = F.linear(leaf, W)
        (z.square().sum() - 2 * z[lines, y].sum()).div(len(x)).add(1).backward()

    return {
        "plain": plain,
        "code": lambda: scale.squared_error(leaf, vectors, y).backward(),
    }


def precision(classes: int, _: int) -> Iterator[Row]:
    """Relative errors of loss and gradient against float64, of plain and of our paths; N = 16."""
    vectors = scale.implicit(classes, 512)
    W = vectors.dense()
    x = torch.randn(16, 512, generator=torch.Generator().manual_seed(0))
    y = torch.randint(classes, (16,), generator=torch.Generator().manual_seed(1))
    loss, exact = _in_float64(x.double(), W, y)
    paths = {
        "plain": lambda leaf: F.cross_entropy(F.linear(leaf, W), y),
        "stored": lambda leaf: scale.linear_cross_entropy(leaf, W, y, unit_vectors=True),
        "code": lambda leaf: scale.linear_cross_entropy(leaf, vectors, y),
    }
    for path, ask in paths.items():
        leaf = x.clone().requires_grad_()
        value = ask(leaf)
        (gradient,) = torch.autograd.grad(value, leaf)
        yield {
            "what": "against float64",
            "path": path,
            "classes": classes,
            "features": 512,
            "rows": 16,
            "loss_error": abs(float(value.detach()) - loss) / loss,
            "gradient_error": float((gradient.double() - exact).norm() / exact.norm()),
        }


def _in_float64(x: Tensor, W: Tensor, y: Tensor) -> tuple[float, Tensor]:
    """Cross-entropy and its gradient, some classes at a time."""
    pieces = W.split(1 << 16)
    z = torch.cat([x @ piece.double().T for piece in pieces], dim=1)
    lse = z.logsumexp(dim=1)
    loss = float((lse - z.gather(1, y.unsqueeze(1))[:, 0]).mean())
    weights = (z - lse.unsqueeze(1)).exp_()
    weights[torch.arange(len(x)), y] -= 1
    parts = weights.split(1 << 16, dim=1)
    pull = sum(w @ piece.double() for w, piece in zip(parts, pieces, strict=True))
    assert isinstance(pull, Tensor)
    return loss, pull / len(x)


STARTING = """
import json, time
start = time.perf_counter()
import torch
own = time.perf_counter()
import fixhead, fixhead.many_classes
both = time.perf_counter()
x, y = torch.randn(64, 64, requires_grad=True), torch.arange(64)
W = torch.randn(20_000, 64)
def timed(work):
    begin = time.perf_counter(); work().backward(); return time.perf_counter() - begin
torchs = [timed(lambda: torch.nn.functional.cross_entropy(x @ W.T, y)) for _ in range(2)]
code = fixhead.many_classes.implicit(20_000, 64)
ours = [timed(lambda: fixhead.many_classes.linear_cross_entropy(x, code, y)) for _ in range(2)]
print(json.dumps([own - start, both - own, torchs[0] - torchs[1], ours[0] - ours[1]]))
"""


def starting(rounds: int) -> Iterator[Row]:
    """Import and first call, over torch's own: fresh processes."""
    command = [sys.executable, "-c", STARTING]
    timings = [json.loads(subprocess.check_output(command, text=True)) for _ in range(rounds)]
    columns = list(zip(*timings, strict=True))
    names = ("import torch", "import fixhead after it", "first call, torch's own", "first call")
    for name, seconds in zip(names, columns, strict=True):
        yield {"what": "starting", "path": name, **timing.spread(list(seconds))}


def cells() -> dict[str, Cell]:
    every: dict[str, Cell] = {}
    for name, (sizes, against) in STEPS.items():
        every[name] = lambda rounds, s=sizes, a=against: step(s, a, rounds)
    for classes in (10_000, 100_000, 1_000_000):
        name = f"top-1 and squared error K={classes:,}"
        every[name] = lambda rounds, K=classes: inference(K, rounds)
    every["starting"] = starting
    every["against float64 K=1,000,000"] = lambda rounds: precision(1_000_000, rounds)
    return every


def busy_s() -> float:
    """Processor seconds of the whole machine since it started, where Linux tells."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _idle, _wait, irq, soft, *_ = map(int, fields)
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


def measured(cell: Cell, rounds: int) -> tuple[list[Row], bool]:
    """The cell's rows with what others took of the machine meanwhile, and whether that was much."""
    before, start, all_before = sum(os.times()[:4]), time.monotonic(), busy_s()
    rows = list(cell(rounds))
    own = sum(os.times()[:4]) - before
    wall = time.monotonic() - start
    others = max(busy_s() - all_before - own, 0.0) / (wall * (os.cpu_count() or 1))
    for row in rows:
        row["others_share"] = round(others, 4)
        print(json.dumps(row), flush=True)
    return rows, others > OTHERS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cells", help="only these cells, by semicolons")
    parser.add_argument("--quick", action="store_true", help="small cells only, not saved")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no cell after it")
    options = parser.parse_args()
    os.environ["FIXHEAD_SCALE_PATH"] = "torch"
    start = time.monotonic()
    rows: list[Row] = [] if options.quick else records.unfinished("scale_head")
    done = {row["cell"] for row in rows}
    apart: list[Row] = records.newest("scale_head_*.json").get("disturbed", []) if rows else []
    asked = [name for name in cells() if name in QUICK or not options.quick]
    if options.cells is not None:
        asked = [name.strip() for name in options.cells.split(";")]
    left = [name for name in asked if name not in done]
    for name in left * TRIES:
        if name in done:
            continue
        if time.monotonic() - start > options.seconds:
            break
        print(name, flush=True)
        new, disturbed = measured(cells()[name], options.rounds)
        if options.quick:
            continue
        disturbed = disturbed and "median_ms" in new[0]  # an error is the same in any company
        kept = apart if disturbed else rows
        kept += [{"cell": name, **row} for row in new]
        if not disturbed:
            done.add(name)
        complete = len(done) == len(cells())
        threads = torch.get_num_threads()
        records.write("scale_head", rows, threads=threads, complete=complete, disturbed=apart)


if __name__ == "__main__":
    main()

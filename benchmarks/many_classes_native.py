"""The compiled path for implicit codes: its step and its largest logit, cell by cell.

``native`` is the best form that the processor runs, ``native-avx2`` the form for older ones,
``code`` the PyTorch path; ``plain`` is F.linear + F.cross_entropy with the same frozen matrix
stored, ``learned`` the same with the matrix's gradient and a step of SGD with momentum. All are
timed in turn in one process. ``kernel`` rows are the C function alone, without Python's share.

Run: python benchmarks/many_classes_native.py        (about 12 minutes on 2 cores, 15 GB)
     … --cells NAME,NAME                      only these; the day's record keeps the others
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import records
from fixhead import many_classes as scale
from fixhead.bench import timing
from fixhead.bench.rivals import Sizes, contest, measure_alone
from fixhead.many_classes.native import library as native

Row = dict[str, Any]

OWN = ("code", "native", "native-avx2")
ALL = (*OWN, "plain", "learned")
STEPS = {
    "K=100": (Sizes(100, 512, 256), (*OWN, "plain")),
    "K=1k": (Sizes(1_000, 512, 256), (*OWN, "plain")),
    "K=10k": (Sizes(10_000, 512, 256), (*ALL, "linear_cross_entropy")),
    "K=100k": (Sizes(100_000, 512, 256), ALL),
    "K=100k d=1024": (Sizes(100_000, 1024, 256), ALL),
    "K=1M": (Sizes(1_000_000, 512, 256), (*OWN, "plain")),
    "K=1M learned": (Sizes(1_000_000, 512, 256), ("native", "learned")),
    "K=10M N=64": (Sizes(10_000_000, 512, 64), OWN),
}


def step(sizes: Sizes, against: tuple[str, ...], rounds: int) -> Iterator[Row]:
    for path in contest(sizes, against, rounds=rounds, only=True):
        what = "step, learned" if against == ("native", "learned") else "step"
        yield {"what": what, **asdict(path)}
    # The system maps and drops pages of libraries by itself: several processes, and their least.
    again = 5 if sizes.classes >= 1_000_000 and "plain" in against else 0
    peaks = [measure_alone("native", sizes)[0] for _ in range(again)]
    known = sorted(peak for peak in peaks if peak is not None)
    if known:
        row = {"what": "memory", "path": "native", "classes": sizes.classes}
        row |= {"features": sizes.features, "rows": sizes.rows}
        yield row | {"peak_bytes": known[0], "all_peak_bytes": known}


def largest(rounds: int) -> Iterator[Row]:
    """The largest logit of one row and of 256, K = 1,000,000, d = 512."""
    vectors = scale.implicit(1_000_000, 512)
    W = vectors.dense()

    def by(path: str, x: Tensor) -> scale.Top:
        with native.forced(path):
            return scale.topk(x, vectors, 1)

    for count in (1, 256):
        x = torch.randn(count, 512, generator=torch.Generator().manual_seed(0))
        contestants = {
            "plain": lambda x=x: F.linear(x, W).max(dim=1),
            "code": lambda x=x: by("torch", x),
            "native": lambda x=x: by("native", x),
            "native-avx2": lambda x=x: by("native-avx2", x),
        }
        samples = timing.interleaved(contestants, rounds=rounds)
        for path, times in samples.items():
            ratio = statistics.median(samples["plain"]) / statistics.median(times)
            row = {"what": "top-1", "path": path, "classes": len(W), "features": 512}
            yield row | {
                "rows": count,
                **timing.spread(times),
                "ratio_to_plain": round(ratio, 4),
            }


def alone(name: str, threads: int, vectors: scale.Codes, x: Tensor) -> None:
    """The C function in one form, on ``threads`` threads."""
    torch.set_num_threads(threads)
    labels = torch.arange(len(x))
    with native.forced(name):
        path = native.chosen()
        native.negatives_lse(path, vectors.request, x, labels, None, feature_grad=True)


CLOCK = """
#include <time.h>
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
double cycle_ns(void) {
    double best = 1;
    for (int round = 0; round < 500; round++) {
        long sum = 1;
        double start = now();
        for (long i = 0; i < 20000; i++) __asm__ volatile("add $1, %0" : "+r"(sum));
        double one = (now() - start) / 20000;
        if (one < best) best = one;
    }
    return 1e9 * best;
}
"""


def cycle_ns() -> float:
    """Nanoseconds of one addition that waits for the one before: a cycle (x86-64, with gcc)."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "clock.c", Path(folder) / "clock.so"
        source.write_text(CLOCK, encoding="ascii")
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", source, "-o", library], check=True)
        cycle_ns = ctypes.CDLL(str(library)).cycle_ns
        cycle_ns.restype = ctypes.c_double
        return float(cycle_ns())


def floor_cycles(features: int) -> float:
    """Cycles for 16 logits of the AVX-512 form if only arithmetic took time, two operations each.

    Look-up of the first two levels 2; the other levels there and back 2 (log2 d − 2); e^z 7, of
    which two count double; the last two levels back 4; signs and sum 3.
    """
    return (2 + 2 * (math.log2(features) - 2) + 9 + 4 + 3) / 2


def kernel(rounds: int) -> Iterator[Row]:
    """Nanoseconds per logit of the C function by form, threads and d; K = 100,000, N = 64."""
    cycle = cycle_ns()
    threads = torch.get_num_threads()
    able = [name for name, there, _ in native.paths() if there and name != "torch"]
    for features in (256, 512, 1024):
        vectors = scale.implicit(100_000, features, family="random")
        assert isinstance(vectors, scale.Codes)
        x = torch.randn(64, features, generator=torch.Generator().manual_seed(0))
        contestants = {
            f"{name} {count}": partial(alone, name, count, vectors, vectors.place(x))
            for name in able
            for count in sorted({1, threads})
        }
        samples = timing.interleaved(contestants, rounds=rounds)
        torch.set_num_threads(threads)
        for key, times in samples.items():
            name, count = key.split()
            row = {"what": "kernel", "path": name, "threads": int(count), "features": features}
            row |= {"classes": 100_000, "rows": 64, **timing.spread(times)}
            each = 1e9 * statistics.median(times) / 6_400_000
            row |= {"ns_per_logit": round(each, 4), "cycle_ns": round(cycle, 4)}
            if name == "native-avx512":
                row["floor_ns"] = round(floor_cycles(features) * cycle / 16 / int(count), 4)
            yield row


def exactness(_: int) -> Iterator[Row]:
    """Relative errors of the gradient against float64 at K = 1,000,000, N = 16."""
    vectors = scale.implicit(1_000_000, 512)
    W = vectors.dense()
    x = torch.randn(16, 512, generator=torch.Generator().manual_seed(0))
    y = torch.randint(len(W), (16,), generator=torch.Generator().manual_seed(1))
    pieces = W.split(1 << 16)
    z = torch.cat([x.double() @ piece.double().T for piece in pieces], dim=1)
    weights = torch.softmax(z, dim=1)
    weights[torch.arange(16), y] -= 1
    parts = zip(weights.split(1 << 16, dim=1), pieces, strict=True)
    true = torch.stack([w @ piece.double() for w, piece in parts]).sum(dim=0) / 16

    def error(path: str) -> float:
        leaf = x.clone().requires_grad_()
        if path == "plain":
            loss = F.cross_entropy(F.linear(leaf, W), y)
        else:
            with native.forced(path):
                loss = scale.linear_cross_entropy(leaf, vectors, y)
        (pull,) = torch.autograd.grad(loss, leaf)
        return float((pull.double() - true).norm() / true.norm())

    for path in ("plain", "torch", "native", "native-avx2", "native-portable"):
        name = "code" if path == "torch" else path
        row = {"what": "against float64", "path": name, "classes": len(W), "features": 512}
        yield row | {"rows": 16, "gradient_error": error(path)}


def cells() -> dict[str, Any]:
    every: dict[str, Any] = {"kernel": kernel, "top-1 K=1M": largest, "float64": exactness}
    for name, (sizes, against) in STEPS.items():
        every[name] = lambda rounds, s=sizes, a=against: step(s, a, rounds)
    return every


def today() -> list[Row]:
    path = records.RESULTS / f"scale_native_cpu_{datetime.now(UTC):%Y-%m-%d}.json"
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cells", default=",".join(cells()))
    options = parser.parse_args()
    for name in options.cells.split(","):
        new = []
        for row in cells()[name](options.rounds):
            new.append({"cell": name, **row, "commit": records.machine.commit()})
            print(json.dumps(new[-1]), flush=True)
        rows = [row for row in today() if row["cell"] != name] + new
        threads, path = torch.get_num_threads(), native.chosen()
        records.write("scale_native", rows, threads=threads, path=path.name, why=path.why)


if __name__ == "__main__":
    main()

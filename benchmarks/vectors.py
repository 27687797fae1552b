"""Every construction over many (K, d): seconds to make, cosines reached, best bounds known;
and ``certify`` at K = 100,000, d = 512 with its peak memory.

Run: python benchmarks/vectors.py     (about half an hour on 2 cores)
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import records
from fixhead import RequestError, vectors
from fixhead.vectors.bounds import coherence_bound, cosine_bound
from fixhead.vectors.rows import RowSource, cosine_extremes, sample_labels

CLASSES = (10, 100, 1_000, 10_000, 100_000)
FEATURES = (2, 64, 128, 512, 1_024, 2_048)
ALL_PAIRS = 1e12
"""Products K² d up to which all pairs are compared; above it, ``SAMPLE`` classes with all."""

SAMPLE = 4_096
CERTIFY = """
import pathlib, time, fixhead
from fixhead import vectors
W = vectors.codes(100_000, 512) if {dense} else vectors.find_code(100_000, 512).vectors
start = time.perf_counter()
fixhead.certify(W)
print(time.perf_counter() - start)
# Of this program alone: what the operating system reports to the parent begins with the parent's.
status = pathlib.Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


def options(name: str, classes: int) -> dict[str, Any]:
    if name == "guided":  # a long tail, from 1,000 images down to 10
        return {"counts": [round(1000 * 0.01 ** (k / (classes - 1))) for k in range(classes)]}
    return {}


def row(name: str, classes: int, features: int) -> dict[str, Any] | None:
    """One line of the table, or None where the construction refuses (K, d)."""
    largest = vectors.CONSTRUCTIONS[name].largest(features)
    if name != "codes" and largest is not None and classes > largest:
        return None
    try:
        seconds, made = _timed(name, classes, features)
    except RequestError:
        return None
    source = RowSource(made, name)
    every = classes**2 * features <= ALL_PAIRS
    labels = None if every else sample_labels(source, SAMPLE)
    extremes = cosine_extremes(source, labels)
    total = sum(block.sum(dim=0) for block in source.unit_blocks())
    assert isinstance(total, torch.Tensor)
    return {
        "construction": name,
        "classes": classes,
        "features": features,
        "seconds": round(seconds, 4),
        "cosine_max": round(extremes.largest, 6),
        "cosine_mean": round((float(total @ total) - classes) / (classes * (classes - 1)), 6),
        "cosine_bound": round(cosine_bound(classes, features), 6),
        "abs_cosine_max": round(extremes.largest_absolute, 6),
        "abs_cosine_bound": round(coherence_bound(classes, features), 6),
        "compared_classes": classes if every else SAMPLE,
        "threads": torch.get_num_threads(),
    }


def _timed(name: str, classes: int, features: int) -> tuple[float, torch.Tensor]:
    """The fastest of three when that is quick; else of one."""
    best, made = float("inf"), torch.empty(0)
    for _ in range(3):
        start = time.perf_counter()
        made = vectors.build(name, classes, features, **options(name, classes))
        best = min(best, time.perf_counter() - start)
        if best > 1:
            break
    return best, made


def certify_large(*, dense: bool) -> dict[str, Any]:
    """Seconds of ``certify`` and the peak resident memory of its whole process."""
    command = [sys.executable, "-c", CERTIFY.format(dense=dense)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, peak = map(float, done.stdout.split())
    return {
        "work": "certify codes, " + ("stored" if dense else "implicit"),
        "classes": 100_000,
        "features": 512,
        "seconds": round(seconds, 2),
        "peak_mib": round(peak, 1),
        "threads": torch.get_num_threads(),
    }


def separation() -> dict[str, Any]:
    """The closed form that replaces the published recursion (95 s for 2,000 classes there)."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        vectors.max_separation(10_000, 9_999)
        times.append(time.perf_counter() - start)
    return {
        "work": "max_separation",
        "classes": 10_000,
        "features": 9_999,
        "seconds": round(sorted(times)[1], 3),
    }


def show(rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for line in rows for name in line))
    table = Table(*names)
    for line in rows:
        table.add_row(*(str(line.get(name, "")) for name in names))
    Console(width=180).print(table)


def main() -> None:
    chosen = records.arguments(__doc__, rounds=1)
    classes = CLASSES[:2] if chosen.quick else CLASSES
    features = FEATURES[:3] if chosen.quick else FEATURES
    rows = [] if chosen.quick else records.unfinished("vectors")
    done = {(line["classes"], line["features"]) for line in rows}
    for K in classes:
        for d in features:
            if (K, d) in done:
                continue
            for name in vectors.CONSTRUCTIONS:
                line = None if name == "from_tensor" else row(name, K, d)
                if line is not None:
                    rows.append(line)
                    print(*line.values(), flush=True)
            if not chosen.quick:  # a stop loses one (K, d) at most
                records.write("vectors", rows, threads=torch.get_num_threads(), complete=False)
    large = [separation()]
    if not chosen.quick:
        large += [certify_large(dense=True), certify_large(dense=False)]
    show(rows)
    show(large)
    if not chosen.quick:
        path: Path = records.write(
            "vectors", rows, threads=torch.get_num_threads(), complete=True, large=large
        )
        print(path)


if __name__ == "__main__":
    main()

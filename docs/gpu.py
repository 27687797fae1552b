"""Write docs/gpu.md from the records of benchmarks/training_throughput.py and many_classes_cuda.py,
and the plan of on_a_card.py.

Run from the repository's root: python docs/gpu.py
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "gpu.md"

Row = dict[str, Any]

NAMES = {
    "plain": "stored matrix, logits held",
    "plain-half": "the same, loss in bfloat16 too",
    "chunked": "stored matrix, by classes",
    "stored": "stored matrix, by classes",
    "code": "code, PyTorch",
    "learned": "learned matrix, SGD step",
    "learned-adam": "learned matrix, Adam step",
    "learned-chunked": "learned matrix, by classes",
    "partial-fc": "learned matrix, 10 % of the classes",
    "cce": "Cut Cross-Entropy",
    "liger": "Liger",
}

HEAD = """# On a GPU

`--device auto` takes an NVIDIA card where there is one. Images that fit into 4 GiB lie on the card,
are augmented there, and nothing waits for it step by step; images and weights lie channels last,
cuDNN tries its convolutions for the fastest, and `compile` in a recipe compiles the backbone once
for all heads and seeds of a process. `--jobs N` runs several trainings at once, between which
the card takes turns: beside eight others a ResNet-18 ran at 7,000 to 16,000 images/s on an H200.

`python docs/gpu.py` writes this page from the records in `benchmarks/results/`.
"""

SINCE = (
    "Since then the backbone alone is compiled, not the head with it, and the best weights stay on "
    "the card between epochs; this was not timed again."
)

MISSED = """Walking over the classes holds no logits, and in float32 at K = 100,000 costs what plain
costs; in bfloat16 it is slower than plain there, where 1.5 times faster was the goal. The products
of a tile take as long as plain's; the rest is many small operations (exponentials with a change of
type, sums over the first axis, waits), and even K = 10,000 takes two milliseconds.

Since this record the walk has been written anew: logits of a tile in bfloat16, one pass for their
exponentials, about half the operations, no waits. That has run on the CPU only, in tests that
force the same steps there; `python benchmarks/many_classes_cuda.py --cells short` times it on a
card, and `pytest -p no:benchmark tests/many_classes/test_cuda.py` compares it with float64.
`head.loss` holds the logits on a GPU until they would take a gigabyte."""


LENT = """## When a card is lent for some minutes

`benchmarks/on_a_card.py` does what is missing in order of worth, each step within its limit and
carried on where it was stopped, and says at the end what is left. Nothing is downloaded there: data
are packed before (`--pack`) with the wheels that pip fetches for that machine (pyarrow, plotly, the
rivals), in parts of at most 60 MiB, and joined there (`--unpack`). Its trainings are cells of the
papers' tables (`fixhead paper … --scale long`, `medium`, `full`): `--home` joins their records to
`results/papers` and makes the tables anew. `--rehearse` goes the same way on the CPU at tiny sizes.
The seconds are estimates: trainings at the pace recorded above with batches of 1,024, which is said
of other networks too although none of them was timed; cells of the other tables at the mean of the
committed ones, which ran beside eight others.
"""


def newest(name: str) -> dict[str, Any]:
    path = sorted(RECORDS.glob(f"{name}_cuda_*.json"))[-1]
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record | {"file": path.name}


def taken(record: dict[str, Any]) -> str:
    versions, file = record["versions"], record["file"]
    return (
        f"From [{file}](../benchmarks/results/{file}): {record['machine']}, torch "
        f"{versions['torch']}, Python {versions['python']}, {record['date'][:10]}."
    )


def throughput() -> str:
    record = newest("training_throughput")
    lines = [
        "## Training",
        "",
        f"ResNet-18 (CIFAR style), bfloat16, {record['flop_per_image'] / 1e9:.2f} GFLOP an image, "
        f"forward and backward. The goal was {record['goal']:,} images a second, the aim "
        f"{record['aim']:,}. The bare loop has normalised images in bfloat16 on the card, no "
        "augmentation, and nothing but the step.",
        "",
        "| loop | batch | augmentation | images/s | least … greatest | TFLOP/s | × bare loop |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['loop']} | {row['batch']:,} | {row['augmentation']} | "
        f"{row['images_per_second']:,} | {row['least']:,} … {row['greatest']:,} | "
        f"{row['tflop_per_second']:.0f} | {row['over_bare']:.2f} |"
        for row in record["rows"]
    ]
    epochs = record["rows"][0]["epochs"]
    return "\n".join([*lines, "", f"{taken(record)} Medians of {epochs} epochs in turn. {SINCE}"])


def heads() -> str:
    record = newest("scale")
    parts = [
        "## Very many classes",
        "",
        "Forward and the gradient to the features; d = 512 and N = 1,024 rows unless said. Greater "
        "ratios are faster. "
        + taken(record)
        + " Medians of the rounds in turn, by CUDA's own clock.",
    ]
    for cell in dict.fromkeys(row["cell"] for row in record["rows"]):
        rows = [r for r in record["rows"] if r["cell"] == cell and "median_ms" in r]
        if not rows or "cells" in rows[0]:
            continue
        parts += ["", f"### {cell}", "", *table(rows)]
    errors = [row for row in record["rows"] if "loss_error" in row]
    parts += ["", "### Errors against float64, K = 100,000", ""]
    parts += ["| path | products | loss | gradient |", "|---|---|---|---|"]
    parts += [
        f"| {NAMES[row['path']]} | {row['cell'].split()[0]} | {row['loss_error']:.1e} | "
        f"{row['gradient_error']:.1e} |"
        for row in errors
    ]
    return "\n".join([*parts, "", MISSED])


def table(rows: list[Row]) -> list[str]:
    memory = any(row.get("peak_bytes") for row in rows)
    head = "| | median ms | least … greatest | × plain |"
    lines = [head + " peak MiB |" * memory, "|---|---|---|---|" + "---|" * memory]
    for row in rows:
        ratio = row.get("ratio_to_plain")
        text = (
            f"| {NAMES[row['path']]} | {row['median_ms']:.2f} | {row['min_ms']:.2f} … "
            f"{row['max_ms']:.2f} | {'–' if ratio is None else f'{ratio:.2f}'} |"
        )
        lines.append(text + (f" {row['peak_bytes'] / 2**20:,.0f} |" if memory else ""))
    return lines


def lent() -> str:
    sys.path.append(str(ROOT / "benchmarks"))
    card = import_module("on_a_card")
    return "\n".join([LENT, *card.plan(card.steps())])


def page() -> str:
    return "\n\n".join([HEAD.rstrip(), throughput(), heads(), lent()]) + "\n"


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()

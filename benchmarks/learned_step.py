"""What class vectors that are learned cost: a training step, and the largest logits, by kind.

    plain       nn.Linear without bias and cross-entropy, logits held
    chunkwise   the same vectors and loss by ChunkwiseTrainer: neither gradient nor logits held
    learned     ClassificationHead, cosine, learned vectors, head.loss (logits held up to 1 GiB)
    quantised   ClassificationHead, cosine, vectors=quantised:8, head.loss (no logits)

A step: forward, gradient to the features and to what is learned, and the optimiser's step; N = 256
rows of d = 512, float32. ``top5``: the five largest logits of N = 1, 16 or 256 rows; plain makes
all logits. Each cell runs in a process of its own, three times, of which the fastest counts;
seconds are those of the processor, which other programs disturb less than the clock. Memory is the
greatest resident size less that before the head was made. ``--fused`` takes torch's fused
optimisers, which fixhead trains with; without it those that torch takes by itself.

Run: python benchmarks/learned_step.py                       (5 minutes of one core, 10 GB)
     … --cells "quantised 1000000; plain 100000"             only these
     … --optimizer sgd --fused --cells "plain 1000000; chunkwise 1000000"
     … --what top5 --cells "plain 1000000; quantised 1000000"
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import records
from fixhead import ClassificationHead
from fixhead.many_classes import ChunkwiseTrainer

FEATURES, ROWS, STEPS = 512, 256, 3
KINDS = ("plain", "learned", "quantised")
TOP_ROWS = (1, 16, 256)
SIZES = (100_000, 1_000_000)
SPECS = {
    "learned": "vectors=random,learn=yes,scale=20",
    "quantised": "vectors=quantised:8,learn=yes,scale=20",
}


def measured(kind: str, classes: int, optimizer: str, fused: bool) -> dict[str, Any]:
    features, labels, draws = _begin(classes, ROWS)
    before = _resident()
    trained, options = (
        _made(kind, classes, draws),
        {"lr": 1e-3, **({"fused": True} if fused else {})},
    )
    if optimizer == "sgd":
        options["momentum"] = 0.9
    kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    stepping: Any
    if kind == "chunkwise":
        assert isinstance(trained, nn.Linear)
        stepping = ChunkwiseTrainer(trained.weight, kinds[optimizer], **options)
    else:
        stepping = kinds[optimizer](trained.parameters(), **options)
    seconds = []
    for _ in range(STEPS):
        start = time.process_time()
        stepping.zero_grad()
        x = features.clone().requires_grad_()
        if kind == "chunkwise":
            stepping.loss(x, labels).backward()
        else:
            if isinstance(trained, ClassificationHead):
                loss = trained.loss(x, labels)
            else:
                loss = nn.functional.cross_entropy(trained(x), labels)
            loss.backward()
            del loss
            stepping.step()
        seconds.append(time.process_time() - start)
    return {
        "kind": kind,
        "classes": classes,
        "features": FEATURES,
        "rows": ROWS,
        "optimizer": optimizer,
        "fused": fused,
        **_costs(seconds, before),
        "trained": sum(weight.numel() for weight in trained.parameters()),
    }


@torch.no_grad()
def largest(kind: str, classes: int, rows: int) -> dict[str, Any]:
    features, _, draws = _begin(classes, rows)
    before = _resident()
    made = _made(kind, classes, draws)
    head = made.requires_grad_(False).eval()
    held, seconds = _resident() - before, []
    for _ in range(STEPS):
        start = time.process_time()
        if isinstance(head, ClassificationHead):
            head.topk(features, 5)
        else:
            head(features).topk(5, dim=1)
        seconds.append(time.process_time() - start)
    return {
        "kind": kind,
        "classes": classes,
        "features": FEATURES,
        "rows": rows,
        "k": 5,
        **_costs(seconds, before),
        "held_bytes": held,
    }


def _begin(classes: int, rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Generator]:
    torch.set_num_threads(1)
    draws = torch.Generator().manual_seed(0)
    features = torch.randn(rows, FEATURES, generator=draws)
    labels = torch.randint(classes, (rows,), generator=draws)
    ClassificationHead(FEATURES, 10).loss(features, labels % 10)  # what is imported once
    return features, labels, draws


def _made(kind: str, classes: int, draws: torch.Generator) -> nn.Module:
    if kind in SPECS:
        return ClassificationHead.from_preset(SPECS[kind], FEATURES, classes, generator=draws)
    return nn.Linear(FEATURES, classes, bias=False)


def _costs(seconds: list[float], before: int) -> dict[str, Any]:
    return {
        "cpu_s": round(min(seconds), 4),
        "all_cpu_s": [round(one, 4) for one in seconds],
        "peak_bytes": _resident() - before,
    }


def _resident() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", help="only these, as 'quantised 1000000; plain 100000'")
    parser.add_argument("--optimizer", choices=["adam", "sgd"], default="adam")
    parser.add_argument("--fused", action="store_true", help="torch's fused optimisers")
    parser.add_argument("--what", choices=["step", "top5"], default="step")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        kind, classes, *rows = asked.one
        found = (
            largest(kind, int(classes), int(rows[0]))
            if rows
            else measured(kind, int(classes), asked.optimizer, asked.fused)
        )
        print(json.dumps(found))
        return
    cells = [f"{kind} {classes}" for classes in SIZES for kind in KINDS]
    if asked.cells:
        cells = [one.strip() for one in asked.cells.split(";")]
    if asked.what == "top5":
        cells = [f"{cell} {rows}" for cell in cells for rows in TOP_ROWS]
    rows = []
    for cell in cells:
        command = [sys.executable, str(Path(__file__)), "--optimizer", asked.optimizer]
        command += ["--fused"] * asked.fused + ["--one", *cell.split()]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout))
        print(done.stdout, end="", flush=True)
    name = "learned_top5" if asked.what == "top5" else "learned_step"
    records.write(f"{name}_{asked.optimizer}" if asked.optimizer != "adam" else name, rows)


if __name__ == "__main__":
    main()

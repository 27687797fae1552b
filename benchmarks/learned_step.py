"""One training step of class vectors that are learned: processor seconds and memory, by kind.

    plain       nn.Linear without bias and cross-entropy, logits held
    learned     ClassificationHead, cosine, learned vectors, head.loss (logits held up to 1 GiB)
    quantised   ClassificationHead, cosine, vectors=quantised:8, head.loss (no logits)

Forward, gradient to the features and to what is learned, and the optimiser's step; N = 256 rows of
d = 512, float32. Each cell runs in a process of its own, three steps, of which the fastest counts;
seconds are those of the processor, which other programs disturb less than the clock. Memory is the
greatest resident size less that before the head was made.

Run: python benchmarks/learned_step.py      (5 minutes of one core, 10 GB)
     … --cells "quantised 1000000; plain 100000"       only these
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

FEATURES, ROWS, STEPS = 512, 256, 3
KINDS = ("plain", "learned", "quantised")
SIZES = (100_000, 1_000_000)
SPECS = {
    "learned": "vectors=random,learn=yes,scale=20",
    "quantised": "vectors=quantised:8,learn=yes,scale=20",
}


def measured(kind: str, classes: int, optimizer: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    draws = torch.Generator().manual_seed(0)
    features = torch.randn(ROWS, FEATURES, generator=draws)
    labels = torch.randint(classes, (ROWS,), generator=draws)
    ClassificationHead(FEATURES, 10).loss(features, labels % 10)  # what is imported once
    before = _resident()
    model: nn.Module
    if kind == "plain":
        model = nn.Linear(FEATURES, classes, bias=False)
        loss_of = lambda x: nn.functional.cross_entropy(model(x), labels)  # noqa: E731
    else:
        head = ClassificationHead.from_preset(SPECS[kind], FEATURES, classes, generator=draws)
        model, loss_of = head, lambda x: head.loss(x, labels)
    kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    options = {"momentum": 0.9} if optimizer == "sgd" else {}
    stepping = kinds[optimizer](model.parameters(), lr=1e-3, **options)
    seconds = []
    for _ in range(STEPS):
        start = time.process_time()
        stepping.zero_grad()
        loss_of(features.clone().requires_grad_()).backward()
        stepping.step()
        seconds.append(time.process_time() - start)
    return {
        "kind": kind,
        "classes": classes,
        "features": FEATURES,
        "rows": ROWS,
        "optimizer": optimizer,
        "cpu_s": round(min(seconds), 3),
        "all_cpu_s": [round(one, 3) for one in seconds],
        "peak_bytes": _resident() - before,
        "trained": sum(weight.numel() for weight in model.parameters()),
    }


def _resident() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", help="only these, as 'quantised 1000000; plain 100000'")
    parser.add_argument("--optimizer", choices=["adam", "sgd"], default="adam")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(asked.one[0], int(asked.one[1]), asked.optimizer)))
        return
    cells = [f"{kind} {classes}" for classes in SIZES for kind in KINDS]
    rows = []
    for cell in [one.strip() for one in asked.cells.split(";")] if asked.cells else cells:
        command = [sys.executable, str(Path(__file__)), "--one", *cell.split()]
        command += ["--optimizer", asked.optimizer]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout))
        print(done.stdout, end="", flush=True)
    records.write("learned_step", rows)


if __name__ == "__main__":
    main()

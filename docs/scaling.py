"""Write docs/scaling.md: what dividing very many classes among processes sends and keeps.

The formulae are here; tests/many_classes/test_sharded.py counts the bytes of a small step, and
holds them against ``sent``. Run from the repository's root: python docs/scaling.py
"""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import fill

PAGE = Path(__file__).with_name("scaling.md")
RECORDS = Path(__file__).parents[1] / "benchmarks" / "results"
CLASSES, FEATURES, ROWS = 10_000_000, 512, 4_096
PROCESSES = (8, 64, 512)
FLOAT = 4
"""Bytes of a float32 number; the maximum and the sums travel in float64."""

WAYS = (
    (
        "several runs of a comparison at once",
        "`fixhead compare --jobs 4`; also `paper`, `evaluate`",
    ),
    ("more heads or seeds later", "the same command with more of them, and the same `--out`"),
    (
        "a comparison divided among machines",
        "the same command on each with its own `--first-seed` or `--heads`, then "
        "`fixhead merge a/ b/ --out both/`",
    ),
    (
        "runs on the machines of a Ray cluster",
        "`fixhead compare --on ray:HOST:PORT`; also `paper`; `--on ray` starts one here",
    ),
    ("a look while it runs", "`fixhead watch DIR`"),
    (
        "one run on several devices",
        "`fixhead train --devices 4`, or `torchrun --nproc-per-node 4 -m fixhead train`",
    ),
    (
        "one run on several machines",
        "`fixhead train --devices 8 --nodes 2` on each, with `MASTER_ADDR`, `MASTER_PORT` and "
        "`NODE_RANK` set",
    ),
    (
        "more classes than one device holds",
        "`linear_cross_entropy(features, W[start:stop], labels, group=group)`",
    ),
    (
        "learned classes whose gradient is too much to hold",
        "`many_classes.ChunkwiseTrainer(head.vectors, torch.optim.SGD, lr=0.1, momentum=0.9)`",
    ),
)

HEAD = """# Many runs, many devices, many machines

{ways}

**Runs at once** are done in processes forked from a server that has imported everything; where the
system has no such server, each imports by itself. Results are those of `--jobs 1`, bit for bit, at
equal `--threads`. A process that dies or hangs (`--run-timeout`) costs its own run, which is begun
again from its last checkpoint. One process writes the records.

**Runs on a Ray cluster** (`pip install "fixhead[ray]"`) are tasks that take `--run-cpus` and
`--run-gpus` of a node. Every node needs the same fixhead, and the data under the same path. Where
the nodes share the disk of `--out`, a run whose process or node is lost goes on from its last
checkpoint on another node; where they do not, it is begun again, and its files and then its record
are sent back when it is done. The process that asked writes all records; where the cluster's head
is lost it ends, and the same command carries on. Results are those of `--jobs 1`, bit for bit, on
processors of one kind. These ways were tested with clusters of one machine, not on several.

**One run in several processes** goes through the same batches as one process does; each learns from
its own images of every batch, and DDP averages the gradients. Losses are those of one process but
for rounding, as long as nothing but the loss sees the whole batch: BatchNorm takes the statistics
of each process's own images. Process 0 alone validates, tests and writes. Where a process is lost
the run ends with a sentence, and the same command goes on from the last checkpoint, in any number
of processes. Every process reads the data itself, and decodes every image of a batch.
"""

LEARNED = """## Learned classes chunk by chunk

A step over learned vectors W holds W, a gradient as large, the optimiser's state and the logits
three times. `ChunkwiseTrainer` holds W and the state: its first walk over a few thousand classes at
a time takes the exact log-sum-exp, the second the gradient of one chunk after the other, each of
which the optimiser moves before the next is made. Loss, gradients and rows are those of the plain
step, but for rounding.

```python
import torch
from fixhead import ClassificationHead
from fixhead.many_classes import ChunkwiseTrainer

backbone = torch.nn.Linear(32, 64)
optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1)
head = ClassificationHead(64, 5_000, vectors="random", learn_vectors=True, scale=20.0)
trainer = ChunkwiseTrainer(head.vectors, torch.optim.SGD, lr=0.1, momentum=0.9)
for _ in range(3):
    inputs, labels = torch.randn(16, 32), torch.randint(5_000, (16,))
    optimizer.zero_grad(), trainer.zero_grad()
    points = head.project(backbone(inputs))
    loss = trainer.loss(points, labels, logits="cosine", scale=head.scale)
    loss.backward()      # the gradient of the features; the rows take their step
    optimizer.step()     # of everything else
```

A gradient that is never whole can be neither clipped nor accumulated nor scaled, and each is
refused; so are optimisers that do not move every number by itself.
"""

DIVIDED = """## Classes divided among processes

Each process holds the vectors of its own classes and computes with them alone; the loss is exact.
A step sends, in float64, one maximum and two sums per row, and in the backward pass the sum of the
features' gradients: 24 N + 4 d N bytes given to collectives, whatever K is. Where every process has
its own rows, `gather_rows` brings them together first (4 d N bytes more). Learned vectors are never
sent, nor are their gradients. Codes (`part_of_code`) have no gradient, no optimiser state and no
shards in a checkpoint.
"""


def sent(rows: int, features: int) -> tuple[int, int]:
    """Bytes that a step gives to collectives: forward, backward."""
    return 3 * 8 * rows, FLOAT * features * rows


def kept(classes: int, features: int, processes: int) -> dict[str, float]:
    """Bytes that a process keeps between steps: vectors, their gradient, Adam's two moments."""
    matrix = FLOAT * classes * features / processes
    return {
        "learned, Adam": 4 * matrix,
        "frozen, stored": matrix,
        "code": classes / 8 / processes,
    }


def size(count: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count:,.0f} B"


def chunkwise() -> str:
    """What a step chunk by chunk takes beside the plain one, from its record."""
    path = sorted(RECORDS.glob("learned_step_sgd_cpu_*.json"))[-1]
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    plain, ours = (next(row for row in rows if row["kind"] == k) for k in ("plain", "chunkwise"))
    return fill(
        f"At K = {ours['classes']:,}, d = {ours['features']}, N = {ours['rows']} and SGD with "
        f"momentum a step took {ours['cpu_s']:.1f} processor seconds of one core and "
        f"{size(ours['peak_bytes'])} at its peak, the plain one {plain['cpu_s']:.1f} s and "
        f"{size(plain['peak_bytes'])}: {ours['cpu_s'] / plain['cpu_s']:.2f} of the time and "
        f"{ours['peak_bytes'] / plain['peak_bytes']:.2f} of the memory "
        f"(`benchmarks/learned_step.py`, [record](../benchmarks/results/{path.name})).",
        width=100,
        break_long_words=False,
        break_on_hyphens=False,
    )


def table() -> list[str]:
    lines = ["| processes | " + " | ".join(kept(1, 1, 1)) + " |", "|---|---|---|---|"]
    for processes in PROCESSES:
        found = kept(CLASSES, FEATURES, processes).values()
        lines.append(f"| {processes} | " + " | ".join(map(size, found)) + " |")
    return lines


def page() -> str:
    forward, backward = sent(ROWS, FEATURES)
    replicated = FLOAT * CLASSES * FEATURES
    ways = ["| what | command |", "|---|---|", *(f"| {what} | {how} |" for what, how in WAYS)]
    return "\n".join(
        [
            HEAD.format(ways="\n".join(ways)),
            LEARNED,
            chunkwise(),
            "",
            DIVIDED,
            f"For K = {CLASSES:,} and d = {FEATURES} a process keeps:\n",
            *table(),
            "",
            fill(
                f"With N = {ROWS:,} rows a step gives {size(forward)} to collectives in the "
                f"forward pass and {size(backward)} in the backward pass, by the formulae above, "
                "which a test holds against the bytes of a small step. Copies of learned vectors "
                f"in every process would average gradients of {size(replicated)}. Times on several "
                "GPUs were not measured.",
                width=100,
            ),
            "",
        ]
    )


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()

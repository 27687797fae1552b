"""What each head costs in training: a step's time, gradient, optimiser and checkpoint bytes.

Every preset against nn.Linear + cross_entropy, under SGD with momentum and AdamW, d = 512, N = 256.

Run: python benchmarks/head_bytes.py          (4 minutes on 2 cores, 12 GB; writes a plot beside)
     python benchmarks/head_bytes.py --table  (writes the newest record into docs/heads.md)
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import records
from fixhead import ClassificationHead, RequestError
from fixhead.bench import timing
from fixhead.heads import PRESETS

N, D = 256, 512
CLASSES = (10, 100, 1_000, 10_000, 100_000)
OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd-momentum": lambda p: torch.optim.SGD(p, lr=1e-6, momentum=0.9),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-6),
}
SKIP = {("auto", 100_000), ("simplex-dr", 100_000)}


def build(name: str, classes: int) -> nn.Module:
    if name == "nn.Linear":
        return nn.Linear(D, classes)
    counts = torch.arange(classes, 0, -1)
    return ClassificationHead.from_preset(name, D, classes, class_counts=counts)


def loss_of(head: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(head(x), y) if isinstance(head, nn.Linear) else head.loss(x, y)


def step(head: nn.Module, optimiser: torch.optim.Optimizer | None, x: Tensor, y: Tensor) -> None:
    x.grad = None
    head.zero_grad()
    loss_of(head, x, y).backward()
    if optimiser is not None:
        optimiser.step()


def bytes_of(tensors: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, Tensor))


def cell(classes: int, optimiser: str, rounds: int) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=generator).requires_grad_()
    y = torch.randint(classes, (N,), generator=generator)
    work: dict[str, Callable[[], object]] = {}
    sizes: dict[str, dict[str, int]] = {}
    for name in ("nn.Linear", *PRESETS):
        if (name, classes) in SKIP:
            continue
        try:
            head = build(name, classes)
        except RequestError:
            continue  # this construction does not hold so many classes at d = 512
        trained = [p for p in head.parameters() if p.requires_grad]
        stepping = OPTIMISERS[optimiser](trained) if trained else None
        step(head, stepping, x, y)
        states = [] if stepping is None else stepping.state.values()
        sizes[name] = {
            "gradient_bytes": bytes_of(p.grad for p in trained),
            "optimiser_bytes": sum(bytes_of(state.values()) for state in states),
            "checkpoint_bytes": bytes_of(head.state_dict().values()),
        }
        work[name] = lambda head=head, stepping=stepping: step(head, stepping, x, y)
    samples = timing.interleaved(work, rounds=rounds)
    rows = []
    for name, times in samples.items():
        row = {"head": name, "classes": classes, "features": D, "rows": N, "optimiser": optimiser}
        rows.append(row | timing.spread(times, samples["nn.Linear"]) | sizes[name])
        print(rows[-1], flush=True)
    return rows


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Step time against K, both axes logarithmic, SGD with momentum."""
    left, right, top, bottom, width, height = 70, 190, 20, 45, 760, 420
    chosen = [row for row in rows if row["optimiser"] == "sgd-momentum"]
    times = [row["median_ms"] for row in chosen]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))

    def place(row: dict[str, Any]) -> tuple[float, float]:
        across = (math.log10(row["classes"]) - 1) / 4
        up = (math.log10(row["median_ms"]) - low) / (high - low)
        return left + across * (width - left - right), height - bottom - up * (
            height - top - bottom
        )

    colours = ["#1b1b1b", "#3a5fc8", "#c8452b", "#2f8f5b", "#8a4fb5", "#b8860b", "#008b8b"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for power in range(low, high + 1):
        y = height - bottom - (power - low) / (high - low) * (height - top - bottom)
        parts.append(f'<path d="M{left} {y:.1f}H{width - right}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{10**power:g} ms</text>'
        )
    for classes in CLASSES:
        x = left + (math.log10(classes) - 1) / 4 * (width - left - right)
        parts.append(
            f'<text x="{x:.1f}" y="{height - bottom + 18}" text-anchor="middle">{classes:,}</text>'
        )
    parts.append(f'<text x="{left}" y="{height - 8}">classes K (d = {D}, N = {N})</text>')
    names = sorted({row["head"] for row in chosen}, key=["nn.Linear", *PRESETS].index)
    ends = []
    for index, name in enumerate(names):
        own = sorted((row for row in chosen if row["head"] == name), key=lambda r: r["classes"])
        points = [place(row) for row in own]
        colour = colours[index % len(colours)]
        dash = ' stroke-dasharray="5 3"' if index >= len(colours) else ""
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>'
        )
        ends.append((points[-1][1], name, colour))
    for rank, (_, name, colour) in enumerate(sorted(ends)):
        y = top + 14 + rank * 22
        parts.append(f'<text x="{width - right + 14}" y="{y}" fill="{colour}">{name}</text>')
    path.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")


SHOWN = (1_000, 100_000)


def table() -> None:
    """The newest record, SGD with momentum and AdamW side by side, into docs/heads.md."""
    record = records.newest("head_bytes_cpu_*.json")
    rows = {(r["head"], r["classes"], r["optimiser"]): r for r in record["rows"]}
    lines = [
        f"d = {D}, N = {N}, float32, {record['machine']}, {record['date'][:10]}: a step (forward, "
        "backward, optimiser) of each head, median, and in brackets its ratio to `nn.Linear` + "
        f"cross-entropy round by round; all sizes in `benchmarks/results/{record['file']}`.",
        "",
        "| head | K | SGD-momentum, ms (×) | AdamW, ms (×) | gradients | AdamW state | saved |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for classes in SHOWN:
        for name in ("nn.Linear", *PRESETS):
            sgd, adam = (rows.get((name, classes, kind)) for kind in OPTIMISERS)
            if sgd is None or adam is None:
                continue
            sizes = (f"{_size(adam[key])}" for key in BYTES)
            times = (f"{r['median_ms']:.1f} ({r['ratio_median']:.2f})" for r in (sgd, adam))
            lines.append(f"| `{name}` | {classes:,} | {' | '.join([*times, *sizes])} |")
    records.rewrite("heads.md", "cost", lines)


BYTES = ("gradient_bytes", "optimiser_bytes", "checkpoint_bytes")


def _size(count: int) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def main() -> None:
    if sys.argv[1:] == ["--table"]:
        return table()
    options = records.arguments(__doc__, rounds=5)
    rows = []
    for classes in CLASSES[:2] if options.quick else CLASSES:
        for optimiser in OPTIMISERS:
            rows += cell(classes, optimiser, options.rounds)
    if not options.quick:
        path = records.write("head_bytes", rows, threads=torch.get_num_threads())
        plot(rows, path.with_suffix(".svg"))
        print(path)
    return None


if __name__ == "__main__":
    main()

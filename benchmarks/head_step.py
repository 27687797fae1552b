"""A head's step against nn.Linear + cross_entropy: forward, backward, and the optimiser's step.

Run: python benchmarks/head_step.py        (about 10 minutes on 2 cores)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import records
from fixhead import ClassificationHead
from fixhead.bench import timing

N, D = 256, 512
CLASSES = (10, 100, 1_000, 10_000, 100_000)


def contestants(classes: int) -> dict[str, Callable[[], object]]:
    """Forward and backward (with the gradient of the features), with and without SGD-momentum."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=generator).requires_grad_()
    y = torch.randint(classes, (N,), generator=generator)
    linear = nn.Linear(D, classes)
    plain = nn.Linear(D, classes, bias=False).requires_grad_(False)
    heads = {
        "learned dot": _head(classes, "linear", "dot", bias=True, learn=True),
        "frozen dot": _head(classes, "random", "dot"),
        "learned cosine": _head(classes, "random", "cosine", learn=True),
        "frozen cosine": _head(classes, "random", "cosine"),
    }
    work: dict[str, Callable[[], object]] = {
        "nn.Linear": lambda: backward(x, cross_entropy(linear(x), y), linear),
        "nn.Linear frozen": lambda: backward(x, cross_entropy(plain(x), y), plain),
        "nn.Linear + step": stepping(x, y, linear, lambda h: cross_entropy(h(x), y)),
    }
    for name, head in heads.items():
        work[name] = lambda head=head: backward(x, head.loss(x, y), head)
        work[f"{name} + step"] = stepping(x, y, head, lambda h: h.loss(x, y))
    return work


def _head(classes: int, vectors: str, logits: str, bias: bool = False, learn: bool = False):
    return ClassificationHead(
        D, classes, vectors=vectors, logits=logits, scale=1.0, bias=bias, learn_vectors=learn
    )


def backward(x: Tensor, loss: Tensor, head: nn.Module) -> None:
    x.grad = None
    head.zero_grad()
    loss.backward()


def stepping(x: Tensor, y: Tensor, head: nn.Module, loss) -> Callable[[], object]:
    parameters = [*head.parameters()]
    trained = [p for p in parameters if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-6, momentum=0.9) if trained else None

    def step() -> None:
        backward(x, loss(head), head)
        if optimizer is not None:
            optimizer.step()

    return step


PAIRS = {
    "learned dot": "nn.Linear",
    "frozen dot": "nn.Linear frozen",
    "frozen dot + step": "nn.Linear + step",
    "learned dot + step": "nn.Linear + step",
    "learned cosine": "learned dot",
    "frozen cosine": "frozen dot",
    "learned cosine + step": "learned dot + step",
    "frozen cosine + step": "nn.Linear + step",
}


def main() -> None:
    options = records.arguments(__doc__, rounds=9)
    rows = []
    for classes in CLASSES[:2] if options.quick else CLASSES:
        samples = timing.interleaved(contestants(classes), rounds=options.rounds)
        for name, times in samples.items():
            other = PAIRS.get(name)
            row = {"classes": classes, "features": D, "rows": N, "path": name, "against": other}
            row |= timing.spread(times, samples[other] if other else None)
            rows.append(row)
            ratio = f"{row['ratio_median']:.3f} × {other}" if other else ""
            print(f"K={classes:>7,}  {name:24} {row['median_ms']:10.3f} ms  {ratio}", flush=True)
    if not options.quick:
        print(records.write("head_step", rows, threads=torch.get_num_threads()))


if __name__ == "__main__":
    main()

"""What the training loop costs over a bare PyTorch loop: small-cnn on digits, epochs in turn.

Two bare loops: ``minimal`` has nothing but the step itself (loss, backward, SGD with momentum);
``equal`` also sets the cosine rate and keeps loss and hits, which any loop that reports them does.
fixhead's epoch is all that happens between two calls of ``on_epoch``: bookkeeping, keeping the best
weights, everything. Seconds of the processor are counted, not of the clock: on one thread the two
agree on an idle machine, and other processes disturb the first less.

Run: OMP_NUM_THREADS=1 python benchmarks/training_loop.py     (about 3 minutes)
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import records
from fixhead._seeds import stream
from fixhead.backbones import build
from fixhead.bench import timing
from fixhead.data import Batches, load
from fixhead.heads import ClassificationHead
from fixhead.training import Classifier, Recipe, train

HEADS = ("learned-dot", "random-cosine@1", "simplex")


def digits() -> Batches:
    data = load("digits")
    training = data.train.take(range(1294))
    return Batches(training, 64, device="cpu", mean=data.mean, std=data.std, seed=0, shuffle=True)


def classifier(head: str) -> Classifier:
    backbone = build("small-cnn", channels=1, image_size=8, seed=0)
    layer = ClassificationHead.from_preset(head, 64, 10, generator=stream(0, "vectors"))
    return Classifier(backbone, layer)


def sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
    )


def minimal(model: nn.Module, batches: Batches, epochs: int) -> Iterator[float]:
    """Seconds of each epoch of the step alone."""
    optimizer = sgd(model)
    for epoch in range(1, epochs + 1):
        start = time.process_time()
        for images, labels in batches.epoch(epoch):
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
        yield time.process_time() - start


def equal(model: nn.Module, batches: Batches, epochs: int) -> Iterator[float]:
    """Seconds of each epoch with the rate set, and loss and hits kept."""
    optimizer = sgd(model)
    steps, step = epochs * len(batches), 0
    for epoch in range(1, epochs + 1):
        losses: list[Tensor] = []
        hits: list[Tensor] = []
        start = time.process_time()
        for images, labels in batches.epoch(epoch):
            rate = 0.025 * (1 + math.cos(math.pi * step / steps))
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            logits = model(images)
            loss = cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            hits.append(logits.argmax(dim=1) == labels)
            step += 1
        _ = torch.stack(losses).mean().item(), torch.cat(hits).float().mean().item()
        yield time.process_time() - start


def epochs_in_turn(head: str, epochs: int) -> dict[str, list[float]]:
    """Seconds per epoch of the three loops, epoch by epoch in turn; two epochs of warm-up."""
    assert torch.get_num_threads() == 1, "set OMP_NUM_THREADS=1: see above"
    batches = digits()
    bare = {
        "minimal": minimal(classifier(head), batches, epochs),
        "equal": equal(classifier(head), batches, epochs),
    }
    samples: dict[str, list[float]] = {"fixhead": [], "minimal": [], "equal": []}
    start = time.process_time()

    def others(row: object) -> None:
        nonlocal start
        samples["fixhead"].append(time.process_time() - start)
        for name, loop in bare.items():
            samples[name].append(next(loop))
        start = time.process_time()

    recipe = Recipe(epochs=epochs, lr=0.05)
    train(classifier(head), batches, None, recipe, seed=0, device="cpu", on_epoch=others)
    return {name: times[2:] for name, times in samples.items()}


def main() -> None:
    options = records.arguments(__doc__, rounds=200)
    rows = []
    for head in HEADS[:1] if options.quick else HEADS:
        samples = epochs_in_turn(head, 10 if options.quick else options.rounds)
        for name, times in samples.items():
            reference = samples["fixhead"] if name == "fixhead" else times
            row = {"head": head, "loop": name, **timing.spread(reference)}
            for other in ("minimal", "equal"):
                ratios = [a / b for a, b in zip(times, samples[other], strict=True)]
                row[f"over_{other}"] = round(statistics.median(ratios), 4)
            rows.append(row)
            print(row, flush=True)
    if not options.quick:
        print(records.write("training_loop", rows, threads=torch.get_num_threads()))


if __name__ == "__main__":
    main()

"""Training images per second on a GPU: ResNet-18 (CIFAR style), bfloat16, channels last, compiled.

``bare`` is a plain PyTorch loop with the images already normalised on the card, no augmentation,
the same network and ``nn.Linear``: the most that a person would write by hand. ``fixhead`` is
``fixhead.training.train`` with the same images (and once with shifts and flips), a frozen random
head, its bookkeeping and everything else between two calls of ``on_epoch``. Epochs in turn.

TFLOP/s count the multiplications and additions of the convolutions and the head, forward and twice
that backward.

Run: python benchmarks/training_throughput.py --data-dir DIR      (about 3 minutes of one GPU)
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

import records
from fixhead._seeds import stream
from fixhead.backbones import build
from fixhead.data import Batches, Split, augmentation, load
from fixhead.heads import ClassificationHead
from fixhead.training import Classifier, Recipe, train

GOAL, AIM = 30_000, 60_000
"""Images per second."""
WARM_UP = 2


def model_of(head: str) -> Classifier:
    backbone = build("resnet18", channels=3, image_size=32, seed=0)
    layer = ClassificationHead.from_preset(
        head, backbone.features, 10, generator=stream(0, "vectors")
    )
    return Classifier(backbone, layer)


def flops_per_image() -> int:
    """Forward and backward, by torch's own count."""
    model = model_of("learned-dot").to("meta")
    with FlopCounterMode(display=False) as counter:
        model.backbone(torch.empty(1, 3, 32, 32, device="meta"))
    return 3 * int(counter.get_total_flops())


def bare(images: Tensor, labels: Tensor, batch: int, device: str) -> Iterator[float]:
    """Seconds of each epoch."""
    backbone = build("resnet18", channels=3, image_size=32, seed=0)
    model = nn.Sequential(backbone, nn.Linear(backbone.features, 10)).to(device)
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
    )

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(model(images), labels)

    step = torch.compile(loss_of, dynamic=False) if device == "cuda" else loss_of
    torch.backends.cudnn.benchmark = True
    while True:
        start = time.perf_counter()
        for chosen in torch.randperm(len(images), device=device).split(batch):
            with torch.autocast(device, torch.bfloat16):
                loss = step(images[chosen], labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss.item()  # waits for the card
        yield time.perf_counter() - start


def in_turn(
    data: Any, split: Split, batch: int, augment: str, device: str, epochs: int
) -> dict[str, list[float]]:
    """Images per second of both loops, epoch by epoch in turn."""
    batches = Batches(
        split, batch, device=device, mean=data.mean, std=data.std, seed=0, shuffle=True,
        augmentation=augmentation(augment),
    )  # fmt: skip
    flat = Batches(
        split, len(split), device=device, mean=data.mean, std=data.std, seed=0, shuffle=False
    )
    images, labels = next(flat.epoch(1))
    images = images.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    other = bare(images, labels, batch, device)
    seconds: dict[str, list[float]] = {"fixhead": [], "bare": []}
    start = time.perf_counter()

    def after_epoch(row: object) -> None:
        nonlocal start
        seconds["fixhead"].append(time.perf_counter() - start)
        seconds["bare"].append(next(other))
        start = time.perf_counter()

    recipe = Recipe(
        epochs=epochs, batch_size=batch, precision="bf16-mixed", compile=device == "cuda"
    )
    train(
        model_of("random-dot"), batches, None, recipe, seed=0, device=device, on_epoch=after_epoch
    )
    return {name: [len(split) / one for one in times[WARM_UP:]] for name, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--images", type=int, default=49_152)
    parser.add_argument("--epochs", type=int, default=9)
    options = parser.parse_args()
    data = load("cifar10-jpeg", data_dir=options.data_dir)
    split = data.train.take(range(options.images))
    work = flops_per_image()
    rows = []
    cells = [(batch, "none") for batch in options.batches]
    cells.append((options.batches[-1], "crop:4,flip"))
    for batch, augment in cells:
        by_loop = in_turn(data, split, batch, augment, options.device, options.epochs)
        for loop, rates in by_loop.items():
            middle = statistics.median(rates)
            ratios = [own / one for own, one in zip(rates, by_loop["bare"], strict=True)]
            rows.append(
                {
                    "loop": loop,
                    "batch": batch,
                    "augmentation": augment if loop == "fixhead" else "none",
                    "images_per_second": round(middle),
                    "least": round(min(rates)),
                    "greatest": round(max(rates)),
                    "tflop_per_second": round(middle * work / 1e12, 1),
                    "over_bare": round(statistics.median(ratios), 4),
                    "epochs": len(rates),
                }
            )
            print(rows[-1], flush=True)
        facts = {"goal": GOAL, "aim": AIM, "flop_per_image": work}
        path = records.write("training_throughput", rows, device=options.device, **facts)
    print(path)


if __name__ == "__main__":
    main()

"""What the metrics of a last layer add to a training step of a small ResNet on 32×32 images.

A step is forward, loss, backward and SGD with momentum; the metrics are one update of
``fixhead.metrics.last_layer_metrics`` (collapse with the full scatter, compactness, norms,
accuracies, calibration) on that step's features, logits and labels; buffered, it is the mean over
the calls, most of which only hold a batch back. On a GPU all are timed until the device has
finished, although in training the metrics' small kernels overlap with the step's.

Run: python benchmarks/metrics_cost.py        (about 5 minutes on 2 cores)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import records
from fixhead import ClassificationHead, backbones
from fixhead.bench import timing
from fixhead.metrics import Buffered, last_layer_metrics

BATCH = 128
SIZES = (("resnet32", 10), ("resnet32", 100), ("resnet18", 100))
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Case:
    """A network in training, and the metrics that watch its last layer."""

    def __init__(self, network: str, classes: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(BATCH, 3, 32, 32, generator=generator).to(DEVICE)
        self.labels = torch.randint(classes, (BATCH,), generator=generator).to(DEVICE)
        body = backbones.build(network, channels=3, image_size=32, seed=0)
        self.backbone = body.to(DEVICE).train()
        self.head = ClassificationHead(body.features, classes, vectors="random", scale=20.0)
        self.head.to(DEVICE)
        self.optimizer = torch.optim.SGD(self.backbone.parameters(), lr=1e-6, momentum=0.9)
        self.metrics = last_layer_metrics(classes, body.features, self.head.vectors).to(DEVICE)
        self.buffered = Buffered(last_layer_metrics(classes, body.features, self.head.vectors))
        self.buffered.metric.to(DEVICE)
        self.features, self.logits = self.step()

    def step(self) -> tuple[Tensor, Tensor]:
        features = self.backbone(self.images)
        logits = self.head(features)
        self.optimizer.zero_grad()
        cross_entropy(logits, self.labels).backward()
        self.optimizer.step()
        return features.detach(), logits.detach()

    def update(self) -> None:
        self.metrics.update(features=self.features, logits=self.logits, labels=self.labels)

    def update_buffered(self) -> None:
        inputs = {"features": self.features, "logits": self.logits, "labels": self.labels}
        self.buffered.update(**inputs)

    def both(self) -> None:
        self.features, self.logits = self.step()
        self.update()

    def contestants(self) -> dict[str, Callable[[], object]]:
        named = {
            "step": self.step,
            "metrics": self.update,
            "metrics, buffered": self.update_buffered,
            "step and metrics": self.both,
        }
        return {name: finished(work) for name, work in named.items()}


def finished(work: Callable[[], object]) -> Callable[[], None]:
    """Until the device has done what it was told to."""

    def timed() -> None:
        work()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()

    return timed


def trainable(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def main() -> None:
    options = records.arguments(__doc__, rounds=9)
    rows = []
    for network, classes in SIZES[:1] if options.quick else SIZES:
        case = Case(network, classes)
        samples = timing.interleaved(case.contestants(), rounds=options.rounds)
        facts = {"network": network, "parameters": trainable(case.backbone), "classes": classes}
        for name, times in samples.items():
            other = None if name == "step" else samples["step"]
            row = {**facts, "features": case.head.features, "batch": BATCH, "path": name}
            row |= timing.spread(times, other)
            rows.append(row)
            ratio = f"{100 * row['ratio_median']:.2f} % of a step" if other else ""
            label = f"{network}  K={classes:>4}  {name:18}"
            print(f"{label} {row['median_ms']:10.3f} ms  {ratio}", flush=True)
    if not options.quick:
        print(records.write("metrics_cost", rows, device=DEVICE, threads=torch.get_num_threads()))


if __name__ == "__main__":
    main()

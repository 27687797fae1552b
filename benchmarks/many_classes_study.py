"""Which head learns when there are many more classes than features: accuracy at equal steps.

Four tasks. 1,000 characters (``characters.py``), 24 images of each, three epochs, d = 32 and 128;
two arms also for twelve epochs. 4,000 characters, 24 images of each, three epochs, d = 32. 16,000
characters, 12 images of each, three epochs, d = 32. Tiny ImageNet's 200 classes, 100 images of each
at 32 × 32, four epochs, d = 16, 32 and 64. One network of three strided convolutions and a linear
layer to d features; Adam (rate 3e-3, warm-up and cosine), batches of 64. For one seed every arm has
the same images, order and first weights; every arm has the same rate, and the scale S is varied for
all. The test images are touched once; those of an arm that starts from the data twice, before the
first step too.

A row per run is appended to results/many-classes/runs.jsonl; started again, it carries on.

    python benchmarks/many_classes_study.py --data-dir DIR     (2.5 hours of one core)
    python benchmarks/many_classes_study.py --only from-data   (those that start from the data)
    python docs/many_classes.py                                (the page from the rows)

Tiny ImageNet is looked for in DIR, as ``fixhead data check tiny-imagenet`` does.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from characters import characters
from fixhead import ClassificationHead
from fixhead._seeds import forked, stream
from fixhead.data import load
from fixhead.many_classes import sampled_cross_entropy
from fixhead.runs import machine
from fixhead.runs.layout import RUNS_FILE
from fixhead.runs.records import append, read
from fixhead.training import imprint_head
from fixhead.training.imprint import reassign_head
from fixhead.vectors.orthogonal import haar_frame

ROWS = Path(__file__).parents[1] / "results" / "many-classes" / RUNS_FILE
BATCH = 64
RATE = 3e-3
SAMPLED = "sampled"


@dataclass(frozen=True)
class Task:
    name: str
    classes: int
    epochs: int


CHARACTERS = Task("characters", 1_000, 3)
LONGER = Task("characters, longer", 1_000, 12)
MIDDLE = Task("characters, 4,000", 4_000, 3)
MORE = Task("characters, 16,000", 16_000, 3)
TINY = Task("tiny-imagenet", 200, 4)


Start = Literal["frame", "gauss", "padded"]
"""√(D/d) times a random frame, the head's own start when the study began; entries of N(0, 1/d);
√(D/d) times the identity over zeros, the head's own start now."""


@dataclass(frozen=True)
class Arm:
    """A head's spec; ``sampled`` trains learned vectors on 10 % of the classes a step.

    start: A's first values, where there is a map.
    course: S over the run as multiples of its own, from the first to the last step.
    unit: f is brought to the length √(d/D) before the map, and A f to none after it (dot logits).
    """

    name: str
    spec: str
    start: Start = "frame"
    course: tuple[float, float] = (1.0, 1.0)
    unit: bool = False


@dataclass(frozen=True)
class Run:
    task: Task
    features: int
    arm: Arm
    seed: int

    @property
    def key(self) -> str:
        return f"{self.task.name}/d{self.features}/{self.arm.name}/seed{self.seed}"


def learned(scale: int, *, neck: str = "none", sampled: bool = False) -> Arm:
    name = SAMPLED if sampled else "learned"
    return _arm(name, f"vectors=random,learn=yes,scale={scale}", scale, neck)


def quantised(tables: int, scale: int) -> Arm:
    return _arm(
        f"quantised:{tables}", f"vectors=quantised:{tables},learn=yes,scale={scale}", scale, "none"
    )


def stages(number: int, scale: int) -> Arm:
    return _arm(
        f"stages:{number}", f"vectors=stages:{number},learn=yes,scale={scale}", scale, "none"
    )


def fixed(vectors: str, scale: int, width: int | None = None, *, neck: str = "none") -> Arm:
    """``random``, ``codes`` or ``implicit`` (codes that are not stored), in d dimensions or behind
    a map to ``width``."""
    name = vectors if width is None else f"{vectors}:{width}"
    said = f"vectors={vectors},scale={scale}"
    return _arm(name, said if width is None else f"{said},code_width={width}", scale, neck)


def _arm(name: str, spec: str, scale: int, neck: str) -> Arm:
    if neck == "none":
        return Arm(f"{name}@{scale}", spec)
    return Arm(f"{name}@{scale}+{neck}", f"{spec},neck={neck}")


def plan() -> Iterator[Run]:
    """All runs, those first that say most: two more seeds at the scales that did best on one."""
    yield from _scales()
    chosen = [learned(10), fixed("random", 20), fixed("codes", 20)]
    chosen += [fixed("codes", 40, 512), fixed("codes", 40, 1024)]
    for seed in (1, 2):
        yield from _runs(CHARACTERS, 32, chosen, seed)
    for features in (16, 32, 64):
        arms = [learned(10), fixed("random", 20), fixed("codes", 20), fixed("codes", 20, 256)]
        yield from _runs(TINY, features, [*arms, learned(20), fixed("codes", 40, 256)])
    for seed in (1, 2):
        yield from _runs(CHARACTERS, 128, chosen, seed)
    yield from _runs(LONGER, 32, [learned(10), fixed("codes", 40, 1024)])
    for seed in (1, 2):
        for features in (16, 32, 64):
            yield from _runs(TINY, features, arms, seed)
    yield from _runs(CHARACTERS, 32, list(_variants()))
    yield from _runs(TINY, 16, [learned(5)])
    arms = [learned(10), learned(20), learned(10, sampled=True), fixed("random", 20)]
    arms += [fixed("implicit", 20), fixed("implicit", 40, 1024), fixed("implicit", 40, 4096)]
    yield from _runs(MORE, 32, [*arms, fixed("implicit", 20, 4096)])
    for seed in (1, 2):
        yield from _runs(TINY, 16, [learned(5)], seed)
        yield from _runs(CHARACTERS, 32, list(_variants()), seed)
        yield from _runs(MORE, 32, [learned(10), fixed("implicit", 40, 4096)], seed)
    for seed in (0, 1, 2):
        yield from _promising(seed)


def _promising(seed: int) -> Iterator[Run]:
    """The start and the course that did best at first, everywhere; the course for learned too."""
    both = [learned(40), learned(20)]
    yield from _runs(CHARACTERS, 32, [_rising(_padded(fixed("codes", 40, 1024)))], seed)
    yield from _runs(CHARACTERS, 32, [_rising(arm) for arm in both], seed)
    for task, features, arm in (
        (CHARACTERS, 128, fixed("codes", 40, 1024)),
        (TINY, 16, fixed("codes", 20, 256)),
        (TINY, 32, fixed("codes", 20, 256)),
    ):
        yield from _runs(task, features, [_padded(arm), _rising(arm)], seed)
    yield from _runs(TINY, 16, [_rising(learned(20))], seed)
    if seed == 0:
        arms = [_padded(fixed("implicit", 40, 4096)), _rising(fixed("implicit", 40, 4096))]
        yield from _runs(MORE, 32, [*arms, _rising(learned(40))])


FROM_DATA = "from-data"


def from_data() -> Iterator[Run]:
    """Heads that start from the data, each part of the start alone, bytes of product tables, and
    sums of code rows."""
    learn, tables = _rising(learned(20)), _rising(quantised(8, 20))
    headline = [_started(learn), _started(tables), learn]
    parts = [_started(learned(20)), _started(learn, "class-means"), _started(learn, "discriminant")]
    bytes_ = [_started(_rising(quantised(4, 20))), _started(_rising(quantised(16, 20)))]
    for task in (MIDDLE, CHARACTERS):
        for seed in (0, 1, 2):
            yield from _runs(task, 32, headline[:2], seed)
    for seed in (0, 1, 2):
        yield from _runs(CHARACTERS, 32, [*headline[2:], *parts, *bytes_, learned(10)], seed)
    for seed in (0, 1, 2):
        yield from _runs(TINY, 64, [*headline, *parts], seed)
    yield from _runs(MORE, 32, headline)
    for seed in (0, 1, 2):
        yield from _runs(MIDDLE, 32, [*headline[2:], *parts, *bytes_, learned(10)], seed)
    for seed in (1, 2):
        yield from _runs(MORE, 32, headline, seed)
    for seed in (0, 1, 2):
        yield from _runs(CHARACTERS, 128, headline, seed)
        for features in (16, 32):
            yield from _runs(TINY, features, [*headline, *parts], seed)
    yield from _runs(LONGER, 32, headline)
    sums = [_started(_rising(stages(number, 20))) for number in (4, 2, 8)]
    for task in (MIDDLE, CHARACTERS):
        for seed in (0, 1, 2):
            yield from _runs(task, 32, sums[:1], seed)
    yield from _runs(MORE, 32, sums[:1])
    for seed in (0, 1, 2):
        yield from _runs(CHARACTERS, 32, sums[1:], seed)
    for seed in (1, 2):
        yield from _runs(MORE, 32, sums[:1], seed)


def _started(arm: Arm, initial: str = "imprint") -> Arm:
    return replace(arm, name=f"{arm.name}~{initial}", spec=f"{arm.spec},initial={initial}")


def _padded(arm: Arm) -> Arm:
    return replace(arm, name=f"{arm.name}~padded", start="padded")


def _rising(arm: Arm) -> Arm:
    return replace(arm, name=f"{arm.name}~rising", course=(0.25, 1.0))


def _variants() -> Iterator[Arm]:
    """Of the widest map at its best scale: A's start, S over the run, what is normalised."""
    plain = fixed("codes", 40, 1024)
    yield replace(plain, name=f"{plain.name}~gauss", start="gauss")
    yield _padded(plain)
    yield _rising(plain)
    yield replace(plain, name=f"{plain.name}~falling", course=(1.0, 0.25))
    spec = f"{plain.spec},logits=dot"
    yield replace(plain, name=f"{plain.name}~unit", spec=spec, unit=True)
    spec = plain.spec.replace("scale=40", "scale=learned:40")
    yield Arm(f"{plain.name}~learned-scale", spec)


def _compared(scale: int, *widths: int) -> list[Arm]:
    plain = [learned(scale), fixed("random", scale), fixed("codes", scale)]
    return plain + [fixed("codes", scale, width) for width in widths]


def _scales() -> Iterator[Run]:
    """One seed each: S, D, sampling, BatchNorm, and random vectors behind the map."""
    for features in (32, 128):
        yield from _runs(CHARACTERS, features, _compared(20, 256, 512))
        arms = [learned(20, sampled=True), fixed("random", 20, 256)]
        arms += [learned(20, neck="batchnorm"), fixed("codes", 20, neck="batchnorm")]
        arms += [fixed("codes", 20, 256, neck="batchnorm"), fixed("codes", 80, 512)]
        if features == 32:
            arms += [fixed("codes", 20, 64), fixed("codes", 20, 128)]
        yield from _runs(CHARACTERS, features, arms)
        yield from _runs(CHARACTERS, features, _compared(40, 256, 512))
        arms = [fixed("codes", scale, 1024) for scale in (20, 40, 10)]
        arms += [learned(10), fixed("codes", 10), fixed("codes", 10, 512)]
        yield from _runs(CHARACTERS, features, arms)


def _runs(task: Task, features: int, arms: list[Arm], seed: int = 0) -> Iterator[Run]:
    for arm in arms:
        yield Run(task, features, arm, seed)


@dataclass(frozen=True)
class Data:
    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor


@lru_cache(maxsize=1)
def characters_of(classes: int, seed: int, part: str = "test") -> Data:
    """The classes are the same for every seed, the images are not. ``part``: the images that are
    measured on, "validation" to choose by."""
    train = characters(classes, 12 if classes == MORE.classes else 24, part=f"train {seed}")
    test = characters(classes, 5 if classes == CHARACTERS.classes else 1, part=part)
    return Data(train.images, train.labels, test.images, test.labels)


@lru_cache(maxsize=1)
def tiny_imagenet(data_dir: Path) -> Data:
    """100 images of each class for training, and all 10,000 validation images as the test."""
    images = load("tiny-imagenet", data_dir=data_dir, image_size=32)
    labels = torch.as_tensor(images.train.labels)
    chosen = torch.cat([(labels == k).nonzero()[:100, 0] for k in range(TINY.classes)])
    train = torch.as_tensor(images.train.images[chosen.numpy()])
    test = torch.as_tensor(images.test.images[torch.arange(len(images.test.labels)).numpy()])
    return Data(train, labels[chosen], test, torch.as_tensor(images.test.labels))


def network(channels: int, features: int) -> nn.Sequential:
    """Images (N, C, 32, 32) → features (N, d) of either sign."""
    layers: list[nn.Module] = []
    for inputs, outputs, side in ((channels, 16, 5), (16, 48, 3), (48, 96, 3)):
        layers.append(nn.Conv2d(inputs, outputs, side, 2, side // 2, bias=False))
        layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(96 * 16, features))


class Unit(nn.Module):
    """Features at one length."""

    def __init__(self, length: float) -> None:
        super().__init__()
        self.length = length

    def forward(self, features: Tensor) -> Tensor:
        return self.length * nn.functional.normalize(features)


def perform(run: Run, data: Data) -> dict[str, Any]:
    with forked(run.seed, "network", run.features):
        body = network(data.images.shape[1], run.features).to(memory_format=torch.channels_last)
    draws = stream(run.seed, "vectors")
    head = ClassificationHead.from_preset(
        run.arm.spec, run.features, run.task.classes, generator=draws
    )
    if head.code_map is not None:
        with torch.no_grad():
            head.code_map.copy_(_first(run.arm.start, *head.code_map.shape, draws))
    weights = [*body.parameters(), *(p for p in head.parameters() if p.requires_grad)]
    optimizer = torch.optim.Adam(weights, lr=RATE)
    steps = run.task.epochs * (len(data.labels) // BATCH)
    facts = _start_from_data(run, body, head, data) if head.awaits_imprint else {}
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    if run.arm.unit:
        assert head.code_map is not None
        body.append(Unit(math.sqrt(run.features / len(head.code_map))))
    sampled = stream(run.seed, "classes") if run.arm.name.startswith(SAMPLED) else None
    start, seconds, step = time.process_time(), 0.0, 0
    own = None if head.scale is None else head.scale.detach().clone()
    for epoch in range(run.task.epochs):
        if head.quantised and epoch:
            model = nn.Sequential(body, head)
            reassign_head(model, head, lambda number=epoch: _passes(run, data, number))
        for batch in _order(run, data, epoch):
            optimizer.zero_grad()
            features, labels = body(prepared(data.images[batch])), data.labels[batch]
            before = time.process_time()
            if run.arm.course != (1.0, 1.0):
                first, last = run.arm.course
                head.scale = own * (first + (last - first) * step / steps)
            step += 1
            leaf = features.detach().requires_grad_()
            loss = _loss(head, leaf, labels, sampled)
            loss.backward()
            seconds += time.process_time() - before
            features.backward(leaf.grad)
            optimizer.step()
            schedule.step()
    total = time.process_time() - start
    return {
        "run": run.key,
        "task": run.task.name,
        "classes": run.task.classes,
        "features": run.features,
        "arm": run.arm.name,
        "sentence": run.arm.spec,
        "seed": run.seed,
        "epochs": run.task.epochs,
        "images": len(data.labels),
        "accuracy": accuracy(body, head, data),
        **facts,
        "last_loss": round(float(loss.detach()), 5),
        "cpu_s": round(total, 2),
        "head_cpu_s": round(seconds, 2),
        "head_parameters": sum(p.numel() for p in head.parameters() if p.requires_grad),
        "head_training_bytes": training_bytes(head),
        "device": machine.describe_device(torch.device("cpu")),
        "versions": machine.versions(),
        "commit": machine.commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _order(run: Run, data: Data, epoch: int) -> list[Tensor]:
    order = torch.randperm(len(data.labels), generator=stream(run.seed, "order", epoch))
    return list(order.split(BATCH)[: len(data.labels) // BATCH])


def _passes(run: Run, data: Data, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in _order(run, data, epoch):
        yield prepared(data.images[batch]), data.labels[batch]


def _start_from_data(
    run: Run, body: nn.Module, head: ClassificationHead, data: Data
) -> dict[str, Any]:
    """What the start took, and the accuracy before the first step."""
    before = time.process_time()
    found = imprint_head(nn.Sequential(body, head), head, lambda: _passes(run, data, 0))
    return {
        "imprint_cpu_s": round(time.process_time() - before, 2),
        "imprint_images": found.images,
        "accuracy_before": accuracy(body, head, data),
    }


def _first(start: Start, width: int, features: int, draws: torch.Generator) -> Tensor:
    """A's first values (D, d)."""
    stretch = math.sqrt(width / features)
    if start == "frame":
        return stretch * haar_frame(width, features, draws)
    if start == "gauss":
        return torch.randn(width, features, generator=draws) / math.sqrt(features)
    return torch.zeros(width, features).fill_diagonal_(stretch)


def _loss(
    head: ClassificationHead, features: Tensor, labels: Tensor, draws: torch.Generator | None
) -> Tensor:
    if draws is None:
        return head.loss(features, labels)
    assert head.scale is not None
    options: dict[str, Any] = {"logits": "cosine", "scale": head.scale}
    return sampled_cross_entropy(
        features, head.vectors, labels, rate=0.1, generator=draws, **options
    )


def _rate(step: int, steps: int) -> float:
    warm = steps // 10
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def prepared(images: Tensor) -> Tensor:
    wide = images.float().div_(127.5).sub_(1.0)
    return wide.contiguous(memory_format=torch.channels_last)


def training_bytes(head: ClassificationHead) -> int:
    """Buffers once; trained numbers four times: themselves, gradient and Adam's two moments."""
    own = sum(b.numel() * b.element_size() for b in head.buffers())
    return own + 4 * sum(p.numel() * p.element_size() for p in head.parameters() if p.requires_grad)


@torch.no_grad()
def accuracy(body: nn.Module, head: ClassificationHead, data: Data) -> float:
    body.eval(), head.eval()
    hits = 0
    for images, labels in zip(
        data.test_images.split(1_000), data.test_labels.split(1_000), strict=True
    ):
        hits += int((head(body(prepared(images))).argmax(dim=1) == labels).sum())
    body.train(), head.train()
    return hits / len(data.test_labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data-dir", type=Path, help="where Tiny ImageNet lies; without it, characters only"
    )
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="begin no run after so long"
    )
    parser.add_argument("--only", choices=[FROM_DATA], help="those that start from the data")
    options = parser.parse_args()
    torch.set_num_threads(1)
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    done = {row["run"] for row in read(ROWS)}
    start = time.monotonic()
    runs = [*from_data()] if options.only else [*plan(), *from_data()]
    for run in runs:
        if run.key in done or (run.task is TINY and options.data_dir is None):
            continue
        if time.monotonic() - start > options.seconds:
            break
        tiny = run.task is TINY
        data = (
            tiny_imagenet(options.data_dir) if tiny else characters_of(run.task.classes, run.seed)
        )
        row = perform(run, data)
        append(ROWS, row)
        print(f"{run.key:45} {100 * row['accuracy']:6.2f} %  {row['cpu_s']} s", flush=True)


if __name__ == "__main__":
    main()

"""Which head for which data: class vectors × learned or frozen × logits × neck × loss.

A factorial study of small networks on a few thousand images. A setting is a data set with a number
of classes K, features d, a tail or none; an arm is a head. The network is three strided
convolutions with BatchNorm and ReLU, mean-pooled: d non-negative features. SGD with momentum, one
cosine descent, batches of 64; CIFAR-10 and Tiny ImageNet are shifted and flipped.

The fair protocol: for one seed every arm has the same validation tenth, first weights, order and
augmentation; the epoch is chosen on validation (balanced where the classes are unequal), and the
test images are touched once. Every arm in every setting tries the same three learning rates with
seed 0, over the whole budget of epochs, and keeps the best on validation for all seeds; seed 0's
row is the run at that rate, whose test figures did not choose it.

The fraction. All main effects, and of the interactions those that the trial figures made matter:
vectors × learned, vectors × neck, vectors × logits (for one construction of either kind), logits ×
learned; learned vectors from the data or not; loss × (logits, vectors) on tails. Headline arms come
first with three seeds, the others after them, seed by seed; any stop leaves whole settings.

A row per run is appended to results/right-head/runs.jsonl; started again, it carries on.

    python benchmarks/right_head.py --data-dir DIR [--seconds S]    (carry on; S: begin none after)
    python benchmarks/right_head.py --data-dir DIR --plan           (what is done, what is left)

Characters come from a font (``characters.py``); the other data sets are looked for in DIR, as
``fixhead data check NAME`` does.
"""

from __future__ import annotations

import argparse
import math
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from characters import characters
from fixhead._seeds import forked
from fixhead.backbones.backbone import Backbone
from fixhead.data.augment.chain import augmentation
from fixhead.data.batches import Batches
from fixhead.data.catalogue import load
from fixhead.data.dataset import Dataset, Split
from fixhead.data.splits import is_imbalanced, share, thin, validation_split
from fixhead.evaluation.details import accuracies
from fixhead.evaluation.outputs import evaluate_model
from fixhead.heads.init import reachable_nonnegative
from fixhead.runs import machine
from fixhead.runs.layout import RUNS_FILE
from fixhead.runs.records import append, read, repair
from fixhead.training.loop import TrainingResult, train
from fixhead.training.model import Classifier, build_classifier
from fixhead.training.recipe import Recipe

ROWS = Path(__file__).parents[1] / "results" / "right-head" / RUNS_FILE
RATES = (0.03, 0.1, 0.3)
SEEDS = (0, 1, 2)
TEST_IMAGES = 2_000
"""As many test images, the same share of every class, where there are more."""


@dataclass(frozen=True)
class Setting:
    """Data and the network's width: K classes, d features, ``images`` for training and validation.

    tail: how the classes are thinned, as ``--imbalance`` says it.
    """

    name: str
    data: str
    classes: int
    features: int
    images: int
    epochs: int
    tail: str | None = None
    augmentation: str = "none"


PHOTOS = "crop:4,flip"
SETTINGS = (
    Setting("digits", "digits", 10, 32, 1_437, 12),
    Setting("digits, d 8", "digits", 10, 8, 1_437, 12),
    Setting("mnist", "mnist", 10, 10, 1_000, 12),
    Setting("characters 100", "characters", 100, 128, 1_600, 12),
    Setting("characters 100, d 32", "characters", 100, 32, 1_600, 12),
    Setting("characters 100, tail", "characters", 100, 64, 6_000, 12, "exp:0.02"),
    Setting("cifar10", "cifar10-jpeg", 10, 64, 2_500, 12, augmentation=PHOTOS),
    Setting("cifar10, tail", "cifar10-jpeg", 10, 64, 8_000, 12, "exp:0.02", PHOTOS),
    Setting("tiny-imagenet 20", "tiny-imagenet", 20, 64, 2_000, 12, augmentation=PHOTOS),
    Setting("tiny-imagenet 100", "tiny-imagenet", 100, 128, 3_000, 12, augmentation=PHOTOS),
    Setting("tiny-imagenet 100, d 64", "tiny-imagenet", 100, 64, 3_000, 12, augmentation=PHOTOS),
    Setting("tiny-imagenet 100, tail", "tiny-imagenet", 100, 128, 6_000, 12, "exp:0.1", PHOTOS),
    Setting("tiny-imagenet 200, d 64", "tiny-imagenet", 200, 64, 4_000, 12, augmentation=PHOTOS),
    Setting("characters 1000, d 64", "characters", 1_000, 64, 8_000, 6),
)


@dataclass(frozen=True)
class Arm:
    """A head by its factors; ``spec`` is what ``--heads`` takes.

    vectors: linear, random, spread (as far apart as can be), orthonormal, nonnegative, mapped (a
        code behind a learned map), or a word of the head's grammar.
    initial: ``imprint``: learned vectors start at the class means, after one look at the data.
    """

    vectors: str
    learned: bool
    logits: str = "cosine"
    neck: str = "none"
    loss: str = "cross-entropy"
    initial: str = "own"

    @property
    def name(self) -> str:
        parts = ["learned" if self.learned else "frozen", self.vectors, self.logits]
        parts += [] if self.neck == "none" else [self.neck]
        parts += [] if self.initial == "own" else [self.initial]
        return " ".join(parts + ([] if self.loss == "cross-entropy" else ["LA"]))

    def spec(self, classes: int, features: int) -> str:
        said = {"vectors": self.words(classes, features), "learn": "yes" if self.learned else "no"}
        if self.logits == "dot":
            said |= {"logits": "dot", "bias": "yes" if self.vectors == "linear" else "no"}
        else:
            said["scale"] = {"cosine": "auto", "rising": "auto:rising"}[self.logits]
        said |= {"neck": self.neck, "loss": self.loss}
        said |= {"code_width": "auto"} if self.vectors == "mapped" else {}
        said |= {} if self.initial == "own" else {"initial": self.initial}
        return ",".join(f"{name}={value}" for name, value in said.items())

    def words(self, classes: int, features: int) -> str:
        """The construction that stands for the factor's level at this (K, d)."""
        if self.vectors == "spread":
            if classes <= features + 1:
                return "simplex"
            return "orthoplex" if classes <= 2 * features else "codes"
        if self.vectors == "nonnegative":
            return "nonnegative_orthogonal" if classes <= features else "block_codes"
        return "codes" if self.vectors == "mapped" else self.vectors


LA = "logit-adjustment"
DOT = Arm("linear", True, "dot")
COSINE = Arm("random", True)
SPREAD = Arm("spread", False)
SPREAD_BN = replace(SPREAD, neck="batchnorm")
NONNEGATIVE = Arm("nonnegative", False)

HEADLINE = (
    DOT,
    COSINE,
    replace(COSINE, logits="rising"),
    replace(COSINE, logits="rising", initial="imprint"),
    NONNEGATIVE,
    SPREAD,
    SPREAD_BN,
    replace(NONNEGATIVE, learned=True),
    Arm("random", False),
)
FURTHER = (
    replace(DOT, neck="batchnorm"),
    replace(COSINE, neck="batchnorm"),
    Arm("random", False, neck="batchnorm"),
    Arm("orthonormal", False),
    Arm("block_codes:4", False),
    Arm("mapped", False),
    replace(SPREAD, learned=True),
    replace(SPREAD, logits="rising"),
    replace(NONNEGATIVE, logits="rising"),
    replace(NONNEGATIVE, learned=True, logits="rising"),
    replace(NONNEGATIVE, neck="batchnorm"),
    Arm("random", False, "dot"),
    replace(NONNEGATIVE, logits="dot"),
    Arm("random", True, "dot"),
)
"""The first arm is what everyone uses."""

ON_TAILS = tuple(replace(arm, loss=LA) for arm in (DOT, COSINE, NONNEGATIVE, SPREAD_BN))


@dataclass(frozen=True)
class Run:
    setting: Setting
    arm: Arm
    seed: int

    @property
    def key(self) -> str:
        return f"{self.setting.name}/{self.arm.name}/seed{self.seed}"


def plan() -> Iterator[Run]:
    """Every run, those first that say most: block by block, seed by seed, setting by setting."""
    for block in (HEADLINE, FURTHER):
        for seed in SEEDS:
            for setting in SETTINGS:
                tails = ON_TAILS if setting.tail and block is HEADLINE else ()
                for arm in (*block, *tails):
                    if fits(arm, setting):
                        yield Run(setting, arm, seed)


def fits(arm: Arm, setting: Setting) -> bool:
    """Whether the arm exists at this (K, d)."""
    if arm.vectors == "orthonormal":
        return setting.classes <= setting.features
    if arm.vectors == "mapped":
        return setting.classes > 2 * setting.features
    return arm.vectors != "block_codes:4" or setting.classes > setting.features >= 16


def network(channels: int, features: int, image_size: int, seed: int) -> Backbone:
    """Images → d non-negative features: three 3×3 convolutions, all of them (of images above 16
    pixels) or the second (below) halving the side, BatchNorm and ReLU, the mean over positions."""
    strides = (2, 2, 2) if image_size > 16 else (1, 2, 1)
    layers: list[nn.Module] = []
    with forked(seed, "backbone"):
        for inputs, outputs, stride in zip(
            (channels, 16, 48), (16, 48, features), strides, strict=True
        ):
            layers.append(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False))
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return Backbone("three-convolutions", body, features, nonnegative=True)


@lru_cache(maxsize=1)
def dataset(setting: Setting, data_dir: Path) -> Dataset:
    """The same images for every arm and seed."""
    if setting.data == "characters":
        data = _characters(setting.classes, setting.images // setting.classes)
    elif setting.data == "tiny-imagenet":
        data = _first_classes(load(setting.data, data_dir=data_dir, image_size=32), setting)
    else:
        data = load(setting.data, data_dir=data_dir)
    data = share(data, setting.images)
    test = share(data.with_train(data.test), TEST_IMAGES).train
    data = replace(data, test=test)
    return thin(data, setting.tail) if setting.tail else data


def _characters(classes: int, per_class: int) -> Dataset:
    train = characters(classes, per_class, part="train")
    test = characters(classes, max(2, TEST_IMAGES // classes), part="test")
    parts = (Split(part.images.numpy(), part.labels.numpy()) for part in (train, test))
    names = tuple(str(number) for number in range(classes))
    return Dataset("characters", "Characters", names, *parts)


def _first_classes(data: Dataset, setting: Setting) -> Dataset:
    """The first K classes, with their share of the images."""
    train, test = (
        split.take(np.flatnonzero(split.labels < setting.classes))
        for split in (data.train, data.test)
    )
    return replace(data, classes=data.classes[: setting.classes], train=train, test=test)


@dataclass(frozen=True)
class Trained:
    model: Classifier
    result: TrainingResult
    rate: float
    score: float


def perform(run: Run, data: Dataset, rates: tuple[float, ...]) -> dict[str, Any]:
    """The row of a run: the best of these rates on validation, and its test figures."""
    setting, K = run.setting, len(data.classes)
    balanced = is_imbalanced(data.train.counts(K))
    choose_on = "balanced_accuracy" if balanced else "accuracy"
    first, second = validation_split(data.train.labels, seed=run.seed)
    learned_from, held = data.train.take(first), data.train.take(second)
    batches = partial(
        Batches, batch_size=64, device="cpu", mean=data.mean, std=data.std, seed=run.seed
    )
    spec = run.arm.spec(setting.classes, setting.features)
    tried: dict[float, float | None] = {}
    best: Trained | None = None
    error: str | None = None
    seconds = 0.0
    for rate in rates:
        body = network(data.channels, setting.features, data.image_size, run.seed)
        counts = torch.from_numpy(learned_from.counts(K))
        model = build_classifier(body, spec, K, counts=counts, seed=run.seed)
        start = time.process_time()
        try:
            result = train(
                model,
                batches(
                    learned_from, augmentation=augmentation(setting.augmentation), shuffle=True
                ),
                batches(held, shuffle=False),
                Recipe(epochs=setting.epochs, lr=rate),
                seed=run.seed,
                device="cpu",
                choose_on=choose_on,
            )
        except RuntimeError:  # a loss that is not finite: this rate is no choice
            tried[rate], error = None, traceback.format_exc(limit=-1)
            continue
        score = result.history[result.best_epoch - 1][f"val_{choose_on}"]
        tried[rate] = round(score, 5)
        if best is None or score > best.score:
            best, seconds = Trained(model, result, rate, score), time.process_time() - start
    known = {
        "run": run.key, "setting": setting.name, "data": setting.data, "classes": K,
        "features": setting.features, "images": len(first), "tail": setting.tail,
        "epochs": setting.epochs, "arm": run.arm.name, "vectors": run.arm.vectors,
        "learned": run.arm.learned, "logits": run.arm.logits, "neck": run.arm.neck,
        "loss": run.arm.loss, "initial": run.arm.initial, "spec": spec, "seed": run.seed,
        "rates": tried,
    }  # fmt: skip
    if best is None:
        return known | {"status": "failed", "error": error}
    return known | {"status": "done"} | _figures(best, batches(data.test, shuffle=False), K) | {
        "cpu_s": round(seconds, 2), "commit": machine.commit(),
    }  # fmt: skip


def _figures(best: Trained, test: Batches, classes: int) -> dict[str, Any]:
    """What the chosen run came to: validation by epoch, the test figures of the chosen epoch and
    plain accuracy of the last, and of the class vectors at the start of the head."""
    result, model = best.result, best.model
    last = evaluate_model(model, test, classes=classes)
    model.load_state_dict(result.best_state)
    chosen = evaluate_model(model, test, classes=classes)
    found = accuracies(chosen)
    score = (
        "val_balanced_accuracy" if "val_balanced_accuracy" in result.history[0] else "val_accuracy"
    )
    return {
        "lr": best.rate,
        "construction": model.head.construction,
        "scale": None if model.head.scale is None else round(float(model.head.scale.detach()), 3),
        "reach": round(float(reachable_nonnegative(model.head.vectors).min()), 3),
        "best_epoch": result.best_epoch,
        "validation": [round(row[score], 4) for row in result.history],
        "train_accuracy": round(result.history[-1]["train_accuracy"], 4),
        "accuracy": round(found["accuracy"], 5),
        "balanced_accuracy": round(found["balanced_accuracy"], 5),
        "last_accuracy": round(last.right / last.images, 5),
        "test_loss": round(chosen.loss, 4) if math.isfinite(chosen.loss) else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin none after so long")
    parser.add_argument("--plan", action="store_true", help="say what is left, and run nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    repair(ROWS)
    done = {row["run"]: row for row in read(ROWS)}
    if options.plan:
        show_plan(done)
        return
    start = time.monotonic()
    for run in plan():
        if run.key in done:
            continue
        if time.monotonic() - start > options.seconds:
            break
        row = perform(run, dataset(run.setting, options.data_dir), rates_of(run, done))
        done[run.key] = row
        append(ROWS, row)
        said = row.get("balanced_accuracy")
        reached = "failed" if said is None else f"{100 * said:6.2f} %  {row['cpu_s']} s"
        print(f"{run.key:60} {reached}", flush=True)


def rates_of(run: Run, done: dict[str, dict[str, Any]]) -> tuple[float, ...]:
    """The whole grid with the first seed; after it the rate that was chosen there."""
    first = done.get(replace(run, seed=SEEDS[0]).key)
    chosen = None if first is None else first.get("lr")
    return RATES if run.seed == SEEDS[0] or chosen is None else (chosen,)


def show_plan(done: dict[str, dict[str, Any]]) -> None:
    """Runs done and left by setting, with the mean seconds of one at one rate."""
    every = list(plan())
    total = 0.0
    print(f"{'setting':28} {'done':>5} {'left':>5} {'s a run':>8} {'left, min':>10}")
    for setting in SETTINGS:
        runs = [run for run in every if run.setting is setting]
        rows = [done[run.key] for run in runs if run.key in done]
        times = [row["cpu_s"] for row in rows if "cpu_s" in row]
        mean = sum(times) / len(times) if times else math.nan
        trained = sum(
            len(RATES) if run.seed == SEEDS[0] else 1 for run in runs if run.key not in done
        )
        left = trained * mean / 60
        total += left if times else 0.0
        print(f"{setting.name:28} {len(rows):5} {len(runs) - len(rows):5} {mean:8.1f} {left:10.1f}")
    print(f"{len(done)} of {len(every)} runs done; about {total:.0f} minutes of one core are left")


if __name__ == "__main__":
    main()

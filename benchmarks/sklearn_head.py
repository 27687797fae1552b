"""FixedHeadClassifier beside scikit-learn's LogisticRegression: python benchmarks/sklearn_head.py

Features (25,000, 128) of the first 100 classes of Tiny ImageNet at 32 pixels, and of the 5,000
published validation images of these classes as the test set. The network, five convolutions below,
learned from the other half of the training images with an nn.Linear (``learned-dot``): the heads
are fitted to pictures that it has not seen.

Each model gets the same settings: ``C`` from one grid, chosen by accuracy on a tenth of the 25,000
features, then a fit to all of them with the chosen one. Features are standardised for both, in
float32; tolerances are both models' own defaults (the same number). What is timed is that last fit,
and the whole search, on one thread, in processor seconds, which other work on the machine disturbs
less, and in seconds; the models take turns, and medians of the repeats of the last fit are told.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

import fixhead
from fixhead.backbones.backbone import Backbone
from fixhead.data import load
from fixhead.data.batches import Batches
from fixhead.data.dataset import Split
from fixhead.runs import machine
from fixhead.sklearn import FixedHeadClassifier
from fixhead.training.engine import Engine, open_fabric
from fixhead.training.model import Classifier
from fixhead.training.recipe import Recipe

CLASSES = 100
WIDTHS = (16, 32, 64, 128, 128)
STRIDES = (2, 1, 2, 2, 1)
EPOCHS, BATCH = 4, 128
GRID = (0.001, 0.01, 0.1, 1.0, 10.0)
REPEATS = 3
RECORD = Path(__file__).parent / "results" / "sklearn_head.json"


def network() -> nn.Sequential:
    """Images (N, 3, 32, 32) → features (N, 128), non-negative."""
    layers: list[nn.Module] = []
    inputs = 3
    for outputs, stride in zip(WIDTHS, STRIDES, strict=True):
        layers += [
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def make_features(data_dir: Path, path: Path) -> None:
    """Train the network, and keep the features of the pictures that it has not seen."""
    data = load("tiny-imagenet", data_dir=data_dir, image_size=32)
    first = np.flatnonzero(data.train.labels < CLASSES)
    seen, unseen = train_test_split(
        first, test_size=0.5, random_state=0, stratify=data.train.labels[first]
    )
    tested = np.flatnonzero(data.test.labels < CLASSES)
    normal: dict[str, Any] = {"device": torch.device("cpu"), "mean": data.mean, "std": data.std}
    recipe = Recipe(epochs=EPOCHS, batch_size=BATCH, lr=0.05)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Backbone("five-convolutions", network(), features=WIDTHS[-1], nonnegative=True)
        head = fixhead.ClassificationHead.from_preset("learned-dot", WIDTHS[-1], CLASSES)
    model = Classifier(backbone, head)
    engine = Engine(model, recipe, open_fabric(normal["device"], recipe))
    batches = Batches(data.train.take(np.sort(seen)), BATCH, seed=0, shuffle=True, **normal)
    start = time.perf_counter()
    step, steps = 0, EPOCHS * len(batches)
    for epoch in range(EPOCHS):
        model.train()
        for images, labels in batches.epoch(epoch):
            engine.set_learning_rate(recipe.lr * 0.5 * (1 + np.cos(np.pi * step / steps)))
            engine.learn(images, labels)
            step += 1
        print(f"epoch {epoch + 1}: {time.perf_counter() - start:.0f} s", flush=True)
    seconds = time.perf_counter() - start
    arrays: dict[str, Any] = {"train_seconds": np.asarray(seconds)}
    for part, split in (
        ("train", data.train.take(np.sort(unseen))),
        ("test", data.test.take(tested)),
    ):
        arrays[f"{part}_features"], arrays[f"{part}_labels"] = _features(model, split, normal)
    np.savez(path, **arrays)


@torch.no_grad()
def _features(model: Classifier, split: Split, normal: dict[str, Any]) -> tuple[Any, Any]:
    model.eval()
    batches = Batches(split, 256, seed=0, shuffle=False, **normal)
    rows = [model.features(images) for images, _ in batches.epoch(0)]
    return torch.cat(rows).numpy(), split.labels


def compare(path: Path) -> dict[str, Any]:
    """The record: what each model reached, with which setting, in what time."""
    arrays = dict(np.load(path))
    scaler = StandardScaler().fit(arrays["train_features"])
    X, X_test = (scaler.transform(arrays[f"{part}_features"]) for part in ("train", "test"))
    y, y_test = arrays["train_labels"], arrays["test_labels"]
    fitted, held = train_test_split(np.arange(len(y)), test_size=0.1, random_state=0, stratify=y)
    models = {
        "LogisticRegression": lambda C: LogisticRegression(C=C, max_iter=2_000),
        "FixedHeadClassifier": lambda C: FixedHeadClassifier(C=C, max_iter=2_000),
    }
    found: dict[str, Any] = {name: {"settings": [], "last_fit": []} for name in models}
    for C in GRID:
        for name, make in models.items():
            model, times = timed(make(C), X[fitted], y[fitted])
            row = {"C": C, "validation_accuracy": model.score(X[held], y[held]), **times}
            found[name]["settings"].append(row)
            print(name, row, flush=True)
    for _ in range(REPEATS):
        for name, make in models.items():
            best = max(found[name]["settings"], key=lambda row: row["validation_accuracy"])
            model, times = timed(make(best["C"]), X, y)
            found[name] |= {
                "C": best["C"],
                "test_accuracy": model.score(X_test, y_test),
                "objective": objective(model, X, y, best["C"]),
            }
            found[name]["last_fit"].append(times)
            print(name, found[name]["test_accuracy"], times, flush=True)
    for facts in found.values():
        for word in ("processor_seconds", "seconds"):
            facts[word] = statistics.median(one[word] for one in facts["last_fit"])
            facts[f"search_{word}"] = sum(one[word] for one in facts["settings"])
    ours, theirs = found["FixedHeadClassifier"], found["LogisticRegression"]
    return {
        "features": list(X.shape),
        "classes": CLASSES,
        "test_features": len(y_test),
        "network": {"widths": WIDTHS, "epochs": EPOCHS, "seconds": float(arrays["train_seconds"])},
        "models": found,
        "accuracy_difference_points": 100 * (ours["test_accuracy"] - theirs["test_accuracy"]),
        "time_ratio": ours["processor_seconds"] / theirs["processor_seconds"],
        "search_time_ratio": ours["search_processor_seconds"] / theirs["search_processor_seconds"],
        "threads": torch.get_num_threads(),
        **machine.origin(torch.device("cpu"), machine.now()),
    }


def timed(model: Any, X: Any, y: Any) -> tuple[Any, dict[str, Any]]:
    """The fitted model, and what fitting took."""
    process, clock = time.process_time(), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    return model, {
        "processor_seconds": time.process_time() - process,
        "seconds": time.perf_counter() - clock,
        "steps": int(np.max(model.n_iter_)),
    }


def objective(model: Any, X: Any, y: Any, C: float) -> float:
    """Mean cross-entropy + ‖V‖²/(2CN), with V (K, d) such that logits are V x + v."""
    if isinstance(model, LogisticRegression):
        V = model.coef_
    else:
        head = model.head_
        V = (float(head.scale) * head.vectors @ head.neck.weight).detach().numpy()
    chosen = model.predict_proba(X)[np.arange(len(y)), y]
    return float(-np.log(chosen).mean() + np.square(V).sum() / (2 * C * len(y)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    parser.add_argument("--features", type=Path, default=Path("features.npz"), help="kept here")
    parser.add_argument("--out", type=Path, default=RECORD)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if not chosen.features.exists():
        make_features(chosen.data_dir, chosen.features)
    record = compare(chosen.features)
    chosen.out.write_text(json.dumps(record, indent=2) + "\n")
    for name in ("accuracy_difference_points", "time_ratio", "search_time_ratio"):
        print(f"{name}: {record[name]:.3f}")


if __name__ == "__main__":
    main()

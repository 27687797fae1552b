"""A comparison's folder made up for the tests: GENERATED TEST DATA, measured by nobody.

Numbers are drawn from a seeded generator, but agree with one another as a real run's do: accuracies
follow from the confusion counts, cosines from vectors, differences and p-values from the runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fixhead.runs.statistics import held_against

Record = dict[str, Any]

ARMS: dict[str, tuple[str, float]] = {
    "learned-dot": ("vectors=linear,logits=dot,scale=1,bias=yes,learn=yes", 0.955),
    "random-dot": ("vectors=random,logits=dot,scale=1,bias=no,learn=no", 0.962),
    "learned-cosine@1": ("vectors=random,logits=cosine,scale=1,bias=no,learn=yes", 0.925),
    "random-cosine@1": ("vectors=random,logits=cosine,scale=1,bias=no,learn=no", 0.964),
    "simplex": ("vectors=simplex,logits=cosine,scale=auto,bias=no,learn=no", 0.97),
    "hadamard": ("vectors=hadamard,logits=cosine,scale=learned,bias=no,learn=no", 0.96),
    "learned-cosine@20": ("vectors=random,logits=cosine,scale=20,bias=no,learn=yes", 0.966),
    "random-cosine@20": ("vectors=random,logits=cosine,scale=20,bias=no,learn=no", 0.967),
    "orthonormal": ("vectors=orthonormal,logits=cosine,scale=learned,bias=no,learn=no", 0.963),
    "simplex@10": ("vectors=simplex,logits=cosine,scale=10,bias=no,learn=no", 0.968),
    "random-cosine@auto": ("vectors=random,logits=cosine,scale=auto,bias=no,learn=no", 0.969),
    "learned-dot:paired": ("vectors=random,logits=dot,scale=1,bias=yes,learn=yes", 0.956),
}
DEFAULT = tuple(ARMS)[:6]
EDGES = [round(-1 + step / 20, 4) for step in range(41)]
VERSIONS = {"fixhead": "0.1.0", "python": "3.11.2", "torch": "2.13.0"}
ERROR = (
    "Traceback (most recent call last):\n  …\nFloatingPointError: the loss is not finite, step 17"
)
DIGITS = tuple("0123456789")

Make = Callable[..., Path]


@pytest.fixture
def make_comparison(tmp_path: Path) -> Make:
    """``make_comparison(heads=…, seeds=…, classes=…, failed=…)`` → its folder."""

    def make(name: str = "comparison", **options: Any) -> Path:
        return write_comparison(tmp_path / name, **options)

    return make


def write_comparison(
    folder: Path,
    *,
    heads: tuple[str, ...] = DEFAULT,
    seeds: int = 3,
    classes: tuple[str, ...] = DIGITS,
    epochs: int = 12,
    images: int = 36,
    failed: tuple[str, ...] = (),
    without_history: tuple[str, ...] = (),
    matrices: bool = True,
    accuracies: dict[str, list[float]] | None = None,
    error: str = ERROR,
) -> Path:
    """Write the folder; ``failed`` and ``without_history`` name runs.

    ``accuracies`` sets the test accuracies of some arms by hand, seed by seed.
    """
    folder.mkdir(parents=True)
    runs = [
        _run(head, seed, classes, epochs, images, matrices)
        for seed in range(seeds)
        for head in heads
    ]
    for run in runs:
        if accuracies and run["head"] in accuracies:
            run["test_accuracy"] = accuracies[run["head"]][run["seed"]]
        if run["run_id"] in failed:
            _fail(run, error)
        if run["run_id"] not in without_history:
            place = folder / "runs" / run["run_id"]
            place.mkdir(parents=True)
            _write_lines(place / "history.jsonl", _history(run, epochs))
    _write_lines(folder / "runs.jsonl", runs)
    _write(folder / "config.json", _config(heads, seeds, epochs))
    _write(folder / "results.json", summarise(heads, runs))
    return folder


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, allow_nan=False, indent=2), encoding="utf-8")


def _write_lines(path: Path, rows: list[Record]) -> None:
    path.write_text(
        "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows), encoding="utf-8"
    )


def _config(heads: tuple[str, ...], seeds: int, epochs: int) -> Record:
    return {
        "schema": "fixhead.compare/1",
        "fixhead": "0.1.0",
        "config": {
            "data": "generated-test-data",
            "data_dir": None,
            "backbone": "small-cnn",
            "features": None,
            "heads": list(heads),
            "seeds": seeds,
            "tune": [],
            "pretrained": False,
            "device": "auto",
            "recipe": {"epochs": epochs, "lr": 0.1, "weight_decay": 5e-4, "momentum": 0.9},
        },
        "digest": "generated" * 7,
    }


def _run(
    head: str, seed: int, classes: tuple[str, ...], epochs: int, images: int, matrices: bool
) -> Record:
    rng = np.random.default_rng([seed, tuple(ARMS).index(head), len(classes)])
    sentence, level = ARMS[head]
    learned = sentence.endswith("learn=yes")
    vectors = _vectors(rng, sentence, len(classes), learned)
    cosines = np.clip(vectors @ vectors.T, -1, 1)
    confusion = _confusion(rng, cosines if learned else _likeness(len(classes)), level, images)
    own = confusion.diagonal() / confusion.sum(axis=1)
    accuracy = float(confusion.diagonal().sum() / confusion.sum())
    return {
        "schema": "fixhead.run/1",
        "run_id": f"{head.replace(':', '_')}-seed{seed}",
        "data": "generated-test-data",
        "classes": list(classes),
        "backbone": "small-cnn",
        "features": 64,
        "nonnegative_features": True,
        "neck": "none",
        "loss": "cross-entropy",
        "optimizer": "sgd",
        "head": head,
        "head_sentence": sentence,
        "seed": seed,
        "config": {"lr": 0.1, "choose_on": "val_accuracy"},
        "status": "done",
        "error": None,
        "epochs": epochs,
        "best_epoch": max(1, epochs - 2 + seed % 3),
        "val_accuracy": min(1.0, accuracy + float(rng.normal(0.002, 0.004))),
        "test_accuracy": accuracy,
        "test_loss": float(1.5 - accuracy),
        "last_epoch_accuracy": accuracy - float(abs(rng.normal(0, 0.002))),
        "balanced_accuracy": float(own.mean()),
        "macro_f1": float(own.mean()),
        "per_class_accuracy": [float(one) for one in own],
        "geometry": _geometry(rng, cosines, confusion, level, matrices),
        "trainable_parameters": 52_000 + 640 * learned,
        "head_parameters": 650 * learned,
        "head_bytes": 7_800 * learned,
        "train_seconds": 3.2 + 0.1 * seed,
        "images_per_second": 9_000.0,
        "peak_memory_bytes": 612 * 2**20,
        "device": "no device: generated test data",
        "versions": VERSIONS,
        "commit": "0" * 40,
        "started_at": f"2025-01-01T00:{seed:02d}:00+00:00",
    }


def _vectors(rng: np.random.Generator, sentence: str, size: int, learned: bool) -> np.ndarray:
    if "simplex" in sentence:
        rows = np.eye(size) - 1 / size
    elif "hadamard" in sentence or "orthonormal" in sentence:
        rows = np.eye(size)
    else:
        rows = rng.normal(size=(size, 64))
        if learned:
            rows = np.linalg.cholesky(0.7 * _likeness(size) + 0.3 * np.eye(size)) @ rows
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _likeness(size: int) -> np.ndarray:
    """A fixed made-up likeness of classes: near places in the list are alike."""
    place = np.arange(size)
    return np.exp(-np.abs(place[:, None] - place[None, :]) / 1.5)


def _confusion(rng: np.random.Generator, like: np.ndarray, level: float, images: int) -> np.ndarray:
    """Counts (K, K): wrong answers go to the likelier classes more often."""
    size = len(like)
    counts = np.zeros((size, size), dtype=int)
    for row in range(size):
        wrong = int(rng.binomial(images, 1 - level))
        weights = np.exp(3 * like[row])
        weights[row] = 0
        counts[row] = rng.multinomial(wrong, weights / weights.sum())
        counts[row, row] += images - wrong
    return counts


def _geometry(
    rng: np.random.Generator,
    cosines: np.ndarray,
    confusion: np.ndarray,
    level: float,
    matrices: bool,
) -> Record:
    size = len(cosines)
    apart = ~np.eye(size, dtype=bool)
    own = np.clip(rng.beta(60 * level, 6, size=confusion.sum()), -1, 1)
    between = np.clip(rng.normal(0.1, 0.15, size=size * (size - 1) // 2), -1, 1)
    return {
        "certificate": {
            "distinct": True,
            "cosine_min": float(cosines[apart].min()),
            "cosine_mean": float(cosines[apart].mean()),
            "cosine_max": float(cosines[apart].max()),
            "welch_bound": 0.0,
            "signed_bound": -1 / (size - 1),
            "reachable_nonnegative_min": 0.71,
        },
        "class_cosines": cosines.round(4).tolist() if matrices else None,
        "confusion": confusion.tolist() if matrices else None,
        "left_out": None if matrices else "matrices are kept up to 500 classes",
        "spearman": _spearman(cosines[apart], confusion[apart]) if matrices else None,
        "own_cosine": _histogram(own) | {"mean_correct": float(own.mean()), "mean_wrong": None},
        "other_cosine": _histogram(between),
        "feature_norm": {"mean": 11.2, "std": 1.4},
        "scale": 1.0,
    }


def _histogram(values: np.ndarray) -> Record:
    counts, _ = np.histogram(values, bins=EDGES)
    return {"edges": EDGES, "counts": counts.tolist(), "mean": float(values.mean())}


def _spearman(cosines: np.ndarray, counts: np.ndarray) -> Record:
    n = int(cosines.size)
    if np.ptp(cosines) < 1e-6 or np.ptp(counts) == 0:
        reason = "all pairs of class vectors have the same cosine"
        return {"rho": None, "low": None, "high": None, "n": n, "reason": reason}
    rho = float(stats.spearmanr(cosines, counts).statistic)
    if n <= 3 or abs(rho) >= 1:
        return {"rho": rho, "low": None, "high": None, "n": n, "reason": None}
    half = 1.96 * np.sqrt((1 + rho**2 / 2) / (n - 3))
    ends = np.tanh(np.arctanh(rho) + np.array([-half, half]))
    return {"rho": rho, "low": float(ends[0]), "high": float(ends[1]), "n": n, "reason": None}


def _fail(run: Record, error: str) -> None:
    kept = {
        "schema",
        "run_id",
        "data",
        "classes",
        "backbone",
        "head",
        "head_sentence",
        "seed",
        "config",
    }
    kept |= {"device", "versions", "commit", "started_at", "features", "neck", "loss", "optimizer"}
    for name in run.keys() - kept:
        run[name] = None
    run["status"], run["error"] = "failed", error


def _history(run: Record, epochs: int) -> list[Record]:
    rng = np.random.default_rng([run["seed"], len(run["head"])])
    end = run["val_accuracy"] or 0.6
    rows = []
    for epoch in range(1, epochs + 1 if run["status"] == "done" else max(2, epochs // 3)):
        grown = 1 - np.exp(-3.5 * epoch / epochs)
        value = float(
            min(1.0, 0.1 + (end - 0.1) * grown / (1 - np.exp(-3.5)) + rng.normal(0, 0.006))
        )
        rows.append(
            {
                "epoch": epoch,
                "lr": 0.1,
                "train_loss": 2.4 * (1 - grown) + 0.05,
                "train_accuracy": min(1.0, value + 0.01),
                "val_loss": 2.4 * (1 - grown) + 0.12,
                "val_accuracy": value,
                "seconds": 0.3,
                "images_per_second": 9_000.0,
            }
        )
    return rows


def summarise(heads: tuple[str, ...], runs: list[Record]) -> Record:
    """results.json, written independently of the package's own, but for ``against``."""
    done = {
        head: [run for run in runs if run["head"] == head and run["status"] == "done"]
        for head in heads
    }
    pairs = [pair for a, b in combinations(heads, 2) if (pair := _pair(a, b, done[a], done[b]))]
    known = sorted(
        (pair for pair in pairs if pair["p_value_raw"] is not None), key=lambda p: p["p_value_raw"]
    )
    running = 0.0
    for rank, pair in enumerate(known):
        running = max(running, min(1.0, (len(known) - rank) * pair["p_value_raw"]))
        pair["p_value"] = running
    arms = [_arm(head, done[head], runs) for head in heads]
    learned = [head for head in heads if ARMS[head][0].endswith("learn=yes")]
    return {
        "schema": "fixhead.results/1",
        "data": "generated-test-data",
        "backbone": "small-cnn",
        "metric": "test_accuracy",
        "claims": bool(pairs) and all(pair["n"] >= 3 for pair in pairs),
        "arms": arms,
        "against": held_against(arms, "test_accuracy", (learned or heads)[0]),
        "pairs": pairs,
        "notes": ["Generated test data: nobody measured these numbers."],
    }


def _arm(head: str, done: list[Record], runs: list[Record]) -> Record:
    arm: Record = {"head": head, "n": len(done)}
    arm["failed"] = sum(run["head"] == head for run in runs) - len(done)
    for name in (
        "test_accuracy",
        "val_accuracy",
        "last_epoch_accuracy",
        "balanced_accuracy",
        "test_loss",
    ):
        values = [run[name] for run in done]
        arm[name] = {
            "mean": float(np.mean(values)) if values else None,
            "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
            "values": values,
            "seeds": [run["seed"] for run in done],
        }
    for name in ("trainable_parameters", "head_parameters", "head_bytes"):
        arm[name] = done[0][name] if done else None
    return arm


def _pair(a: str, b: str, left: list[Record], right: list[Record]) -> Record | None:
    one = {run["seed"]: run["test_accuracy"] for run in left}
    two = {run["seed"]: run["test_accuracy"] for run in right}
    seeds = sorted(one.keys() & two.keys())
    if not seeds:
        return None
    apart = np.array([one[seed] - two[seed] for seed in seeds])
    ends, p = None, None
    if len(seeds) > 1 and np.ptp(apart) > 0:
        test = stats.ttest_1samp(apart, 0.0)
        interval = test.confidence_interval(0.95)
        ends, p = [float(interval.low), float(interval.high)], float(test.pvalue)
    return {
        "a": a,
        "b": b,
        "n": len(seeds),
        "difference": {"mean": float(apart.mean()), "ci95": ends},
        "p_value_raw": p,
        "p_value": None,
        "test": "paired t",
    }

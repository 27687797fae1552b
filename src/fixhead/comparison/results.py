"""From run records to arms and pairs: what results.json holds, rebuilt from the rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from ..runs.claims import CLAIM_SEEDS, supports_claim
from ..runs.layout import RESULTS_SCHEMA
from ..runs.records import Record
from ..runs.statistics import holm, paired_difference, spread
from .config import Comparison

_SPREADS = (
    "test_accuracy",
    "val_accuracy",
    "last_epoch_accuracy",
    "balanced_accuracy",
    "test_loss",
)
_SIZES = ("trainable_parameters", "head_parameters", "head_bytes")


def summarise(comparison: Comparison, records: Sequence[Record]) -> dict[str, Any]:
    """Arms in the order asked for, every pair of arms with Holm's correction, and notes.

    Holds no time of day and no duration: the same runs give the same results.
    """
    metric = _metric(records)
    tail = _tail(records)
    arms = [_arm(head, _of(records, head), tail) for head in comparison.heads]
    pairs = _pairs(comparison, records, metric)
    return {
        "schema": RESULTS_SCHEMA,
        "data": comparison.data,
        "backbone": comparison.backbone,
        "metric": metric,
        "claims": bool(pairs) and all(supports_claim(pair["n"]) for pair in pairs),
        "arms": arms,
        "pairs": pairs,
        "notes": _notes(comparison, records),
    } | tail


def _tail(records: Sequence[Record]) -> dict[str, Any]:
    """The rule, counts and groups of unequal classes, the same in every record; else nothing."""
    names = ("imbalance", "class_counts", "groups")
    first = next((row for row in records if "groups" in row), None)
    return {} if first is None else {name: first[name] for name in names}


def _metric(records: Sequence[Record]) -> str:
    chosen = {record["config"]["choose_on"] for record in records}
    return "balanced_accuracy" if chosen == {"balanced_accuracy"} else "test_accuracy"


def _of(records: Sequence[Record], head: str) -> list[Record]:
    return sorted((row for row in records if row["head"] == head), key=lambda row: row["seed"])


def _done(rows: Sequence[Record]) -> list[Record]:
    return [row for row in rows if row["status"] == "done"]


def _arm(head: str, rows: Sequence[Record], tail: dict[str, Any]) -> dict[str, Any]:
    done = _done(rows)
    arm: dict[str, Any] = {"head": head, "n": len(done), "failed": len(rows) - len(done)}
    for name in _SPREADS:
        arm[name] = _spread([(row[name], row["seed"]) for row in done])
    if tail:
        arm["group_accuracy"] = {
            name: _spread([(row["group_accuracy"][name], row["seed"]) for row in done])
            for name in tail["groups"]
        }
    for name in _SIZES:
        arm[name] = done[0][name] if done else None
    arm["learning_rate"] = rows[0]["config"]["lr"] if rows else None
    return arm


def _spread(measured: Sequence[tuple[float | None, int]]) -> dict[str, Any]:
    """From (value, seed) of every finished run; runs without the value are left out."""
    known = [(value, seed) for value, seed in measured if value is not None]
    values = [value for value, _ in known]
    found = spread(values) if values else None
    return {
        "mean": found.mean if found else None,
        "std": found.std if found else None,
        "values": values,
        "seeds": [seed for _, seed in known],
    }


def _pairs(comparison: Comparison, records: Sequence[Record], metric: str) -> list[dict[str, Any]]:
    pairs: list[dict[str, Any]] = []
    for a, b in combinations(comparison.heads, 2):
        left = {row["seed"]: row[metric] for row in _done(_of(records, a))}
        right = {row["seed"]: row[metric] for row in _done(_of(records, b))}
        seeds = sorted(left.keys() & right.keys())
        if not seeds:
            continue
        found = paired_difference([left[s] for s in seeds], [right[s] for s in seeds])
        interval = None if found.low is None else [found.low, found.high]
        pairs.append(
            {
                "a": a,
                "b": b,
                "n": found.n,
                "difference": {"mean": found.mean, "ci95": interval},
                "p_value_raw": found.p_value,
                "test": "paired t",
            }
        )
    for pair, p_value in zip(pairs, holm([pair["p_value_raw"] for pair in pairs]), strict=True):
        pair["p_value"] = p_value
    return pairs


def _notes(comparison: Comparison, records: Sequence[Record]) -> list[str]:
    notes = [_about_counts(tail)] if (tail := _tail(records)) else []
    if not comparison.tune:
        notes.append(
            f"All arms used one learning rate ({comparison.recipe.lr:g}), which may suit one "
            "better than another; --tune lr=… searches the same grid for each."
        )
    else:
        grid = ", ".join(f"{rate:g}" for rate in comparison.tune)
        notes.append(
            f"Every arm's learning rate was chosen on validation from the same grid ({grid}), "
            "with seed 0."
        )
    if any(head in ("random-cosine@1", "learned-cosine@1") for head in _asked(comparison)):
        notes.append(
            "Cosine arms at scale 1 cannot reach a high probability, as in the paper; @auto "
            "solves for the scale at which a perfect feature reaches 0.99."
        )
    if not supports_claim(comparison.seeds):
        notes.append(f"Fewer than {CLAIM_SEEDS} seeds: no claim is made about which arm is better.")
    failed = sum(row["status"] == "failed" for row in records)
    if failed:
        notes.append(f"{failed} of {len(records)} runs failed; see their errors below.")
    return notes


def _about_counts(tail: dict[str, Any]) -> str:
    counts = tail["class_counts"]
    rule = "" if tail["imbalance"] is None else f" ({tail['imbalance']})"
    sizes = ", ".join(f"{name} {len(classes)}" for name, classes in tail["groups"].items())
    return (
        f"Training classes are unequal{rule}: {max(counts)} to {min(counts)} images. Epochs were "
        f"chosen on balanced validation accuracy; groups by training images, in classes: {sizes}."
    )


def _asked(comparison: Comparison) -> list[str]:
    return [
        head if "@" in head or head not in ("random-cosine", "learned-cosine") else f"{head}@1"
        for head in comparison.heads
    ]

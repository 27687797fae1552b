"""From run records to arms and pairs: what results.json holds, rebuilt from the rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from .config import Comparison
from .records import Record
from .statistics import holm, paired_difference, spread

SCHEMA = "fixhead.results/1"
CLAIM_SEEDS = 3
"""Fewer paired seeds than this support no claim."""

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
    arms = [_arm(head, _of(records, head)) for head in comparison.heads]
    pairs = _pairs(comparison, records, metric)
    return {
        "schema": SCHEMA,
        "data": comparison.data,
        "backbone": comparison.backbone,
        "metric": metric,
        "claims": bool(pairs) and all(pair["n"] >= CLAIM_SEEDS for pair in pairs),
        "arms": arms,
        "pairs": pairs,
        "notes": _notes(comparison, records),
    }


def _metric(records: Sequence[Record]) -> str:
    chosen = {record["config"]["choose_on"] for record in records}
    return "balanced_accuracy" if chosen == {"balanced_accuracy"} else "test_accuracy"


def _of(records: Sequence[Record], head: str) -> list[Record]:
    return sorted((row for row in records if row["head"] == head), key=lambda row: row["seed"])


def _done(rows: Sequence[Record]) -> list[Record]:
    return [row for row in rows if row["status"] == "done"]


def _arm(head: str, rows: Sequence[Record]) -> dict[str, Any]:
    done = _done(rows)
    arm: dict[str, Any] = {"head": head, "n": len(done), "failed": len(rows) - len(done)}
    for name in _SPREADS:
        arm[name] = _spread(name, done)
    for name in _SIZES:
        arm[name] = done[0][name] if done else None
    arm["learning_rate"] = rows[0]["config"]["lr"] if rows else None
    return arm


def _spread(name: str, done: Sequence[Record]) -> dict[str, Any]:
    rows = [row for row in done if row[name] is not None]
    values = [row[name] for row in rows]
    found = spread(values) if values else None
    return {
        "mean": found.mean if found else None,
        "std": found.std if found else None,
        "values": values,
        "seeds": [row["seed"] for row in rows],
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
    notes = []
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
    if comparison.seeds < CLAIM_SEEDS:
        notes.append(f"Fewer than {CLAIM_SEEDS} seeds: no claim is made about which arm is better.")
    failed = sum(row["status"] == "failed" for row in records)
    if failed:
        notes.append(f"{failed} of {len(records)} runs failed; see their errors below.")
    return notes


def _asked(comparison: Comparison) -> list[str]:
    return [
        head if "@" in head or head not in ("random-cosine", "learned-cosine") else f"{head}@1"
        for head in comparison.heads
    ]


__all__ = ["CLAIM_SEEDS", "SCHEMA", "summarise"]

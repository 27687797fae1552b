"""Trained models on corrupted copies of a test set, the same pixels for every arm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._errors import RequestError
from ..data import Split
from ..data.corruptions import KINDS, PAPER, corrupted, kind_named, table_for
from ..evaluation import corruption_errors, hits, mean_accuracy, mean_corruption_error
from .saved import Saved

SEVERITIES = (1, 2, 3, 4, 5)
MEMORY_BYTES = 1 << 30
"""Test sets up to this size are corrupted once for all arms; larger ones as they are read."""


@dataclass(frozen=True)
class Corruptions:
    """Which kinds, how strong, and from where frost takes its pictures."""

    kinds: tuple[str, ...]
    severities: tuple[int, ...] = SEVERITIES
    frost_dir: Path | None = None

    def __post_init__(self) -> None:
        wrong = [one for one in self.severities if one not in SEVERITIES]
        if wrong or not self.severities:
            raise RequestError(f"--severities must be numbers from 1 to 5, got {self.severities}")
        if "frost" in self.kinds and self.frost_dir is None:
            raise RequestError(
                "--corruptions frost needs --frost DIR, the folder with the photographs of frost; "
                "leave frost out otherwise"
            )


def parse_kinds(text: str, *, frost: bool) -> tuple[str, ...]:
    """``"jpeg,fog"``; ``"paper"``: Shalev et al.'s three; ``"all"``: the 15 (frost only if asked).

    Raises:
        RequestError: an unknown kind, one said twice, or none.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if words == ["all"]:
        return tuple(kind for kind in KINDS if frost or kind != "frost")
    kinds = PAPER if words == ["paper"] else tuple(kind_named(word) for word in words)
    if not kinds or len(set(kinds)) < len(kinds):
        raise RequestError(f"--corruptions must name kinds, each once, got {text!r}")
    return kinds


def corrupted_accuracies(
    wanted: Corruptions,
    test: Split,
    models: Sequence[Saved],
    heads: Sequence[str],
    *,
    device: torch.device,
    batch_size: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Accuracy by kind and severity of every arm (mean over its runs), and its corruption error
    against the first of ``heads``; with one head there is nothing to hold it against."""
    table: dict[str, dict[str, dict[int, float]]] = {
        head: {kind: {} for kind in wanted.kinds} for head in heads
    }
    for kind in wanted.kinds:
        for severity in wanted.severities:
            split = _made(test, kind, severity, wanted.frost_dir, device)
            rates: dict[str, list[float]] = {head: [] for head in heads}
            for saved in models:
                batches = saved.batches(split, device, batch_size)
                right = hits(saved.model.to(device), batches)
                saved.model.to("cpu")
                rates[saved.head].append(float(right.double().mean()))
            for head, found in rates.items():
                table[head][kind][severity] = sum(found) / len(found)
            say(
                f"{kind} {severity}: "
                + ", ".join(f"{h} {table[h][kind][severity]:.4f}" for h in heads)
            )
    baseline = heads[0] if len(heads) > 1 else None
    return {
        "kinds": list(wanted.kinds),
        "severities": list(wanted.severities),
        "table": table_for(min(test.images.shape[2:])),
        "seed": 0,
        "baseline": baseline,
        "arms": [_arm(head, table, baseline) for head in heads],
    }


def _arm(
    head: str, table: dict[str, dict[str, dict[int, float]]], baseline: str | None
) -> dict[str, Any]:
    own = table[head]
    errors = None if baseline is None else corruption_errors(own, table[baseline])
    return {
        "head": head,
        "accuracy": {kind: {str(s): v for s, v in rates.items()} for kind, rates in own.items()},
        "mean_accuracy": mean_accuracy(own),
        "corruption_error": errors,
        "mean_corruption_error": None if errors is None else mean_corruption_error(errors),
    }


def _made(
    test: Split, kind: str, severity: int, frost_dir: Path | None, device: torch.device
) -> Split:
    split = corrupted(test, kind, severity, frost_dir=frost_dir, device=device)
    if int(np.prod(split.images.shape)) > MEMORY_BYTES:
        return split
    return Split(np.asarray(split.images), split.labels)

"""Accuracy on further test sets of the same classes, with intervals of the drop against the first.

Images are drawn again and again, the same for every arm: for every draw b, images of either set
are drawn with replacement; all arms are held against the same drawn images, so that the difference
of two arms' drops has its own, paired interval.

    drop_b(arm) = mean_{n ∈ test_b} right(arm, n) − mean_{m ∈ other_b} right(arm, m)

Percentile intervals. Source: Efron & Tibshirani 1993, chapters 13 and 16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from .._seeds import stream
from ..data.shifted_sets import ShiftedSet
from .checkpoints import SavedModel
from .outputs import hits

DRAWS = 2_000


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Drops:
    """drop: accuracy on the test set minus that on the other set, of every arm; against: that drop
    minus the first arm's. Positive where accuracy is lost."""

    drop: tuple[Estimate, ...]
    against: tuple[Estimate, ...]


def drops(test: Tensor, other: Tensor, *, seed: int = 0, draws: int = DRAWS) -> Drops:
    """Of right answers (A, N) on the test set and (A, M) on the other one, for A arms.

    An entry is the share of an arm's runs that are right on that image: 0 or 1 for one run.
    """
    values = [part.double() for part in (test, other)]
    lost = values[0].mean(dim=1) - values[1].mean(dim=1)
    generator = stream(seed, "bootstrap")
    first, second = (_means(part, draws, generator) for part in values)
    redrawn = first - second
    return Drops(_estimates(lost, redrawn), _estimates(lost - lost[0], redrawn - redrawn[:, :1]))


def _means(values: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Means over N redrawn images: (A, N) → (draws, A)."""
    number = values.shape[1]
    rows = values.T.contiguous()
    means = []
    for _ in range(draws):
        drawn = torch.randint(number, (number,), generator=generator)
        times = torch.bincount(drawn, minlength=number).double()
        means.append(times @ rows / number)
    return torch.stack(means)


def _estimates(values: Tensor, redrawn: Tensor) -> tuple[Estimate, ...]:
    ends = torch.quantile(redrawn, torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    columns = zip(values.tolist(), *ends.tolist(), strict=True)
    return tuple(Estimate(*column) for column in columns)


@torch.no_grad()
def describe_shifted_set(
    shifted: ShiftedSet,
    models: Sequence[SavedModel],
    heads: Sequence[str],
    right: Mapping[str, Tensor],
    device: torch.device,
    batch_size: int,
) -> dict[str, Any]:
    """Every arm on another set: its accuracy, and its drop against the test set.

    ``right[name]`` (N,) are the test images that a model recognises; the first of ``heads`` is the
    baseline that the other arms' drops are held against.
    """
    right_there = {}
    for saved in models:
        model = saved.model.to(device)
        right_there[saved.name] = hits(model, saved.batches(shifted.split, device, batch_size))
        model.to("cpu")
    arms = [[saved.name for saved in models if saved.head == head] for head in heads]
    test, there = (
        torch.stack([torch.stack([part[name].double() for name in arm]).mean(0) for arm in arms])
        for part in (right, right_there)
    )
    lost = drops(test, there)
    return {
        "name": shifted.name,
        "title": shifted.title,
        "images": len(shifted.split),
        "notes": list(shifted.notes),
        "baseline": heads[0],
        "arms": [
            {
                "head": head,
                "n": len(arms[index]),
                "test_accuracy": float(test[index].mean()),
                "accuracy": float(there[index].mean()),
                "drop": asdict(lost.drop[index]),
                "drop_against_baseline": asdict(lost.against[index]) if index else None,
            }
            for index, head in enumerate(heads)
        ],
    }

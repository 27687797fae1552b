"""How sure a drop between two test sets is: images drawn again and again, the same for every arm.

For every draw b, images of either set are drawn with replacement; all arms are held against the
same drawn images, so that the difference of two arms' drops has its own, paired interval.

    drop_b(arm) = mean_{n ∈ test_b} right(arm, n) − mean_{m ∈ other_b} right(arm, m)

Percentile intervals. Source: Efron & Tibshirani 1993, chapters 13 and 16.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._seeds import stream

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
    found = []
    for _ in range(draws):
        drawn = torch.randint(number, (number,), generator=generator)
        times = torch.bincount(drawn, minlength=number).double()
        found.append(times @ rows / number)
    return torch.stack(found)


def _estimates(values: Tensor, redrawn: Tensor) -> tuple[Estimate, ...]:
    ends = torch.quantile(redrawn, torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    columns = zip(values.tolist(), *ends.tolist(), strict=True)
    return tuple(Estimate(*column) for column in columns)

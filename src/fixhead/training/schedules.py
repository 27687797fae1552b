"""The learning rate of every step, as a factor of the recipe's ``lr``.

With T steps in all, of which W are warm-up, and t counted from 0:

    warm-up   (t + 1) / W                                for t < W, then
    cosine    ½ (1 + cos(π (t − W) / (T − W)))           Loshchilov & Hutter 2017, eq. 5
    step      γ^(milestones passed by step t's epoch)
    plateau   φ^(times that validation stopped improving)
    constant  1
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .recipe import Recipe

PLATEAU_THRESHOLD = 1e-4
"""An epoch is better when its score is above the best by more than this (PyTorch's default)."""


class Schedule:
    """``factor(step)`` for every step of a run; ``observe(score)`` after every epoch."""

    def __init__(self, recipe: Recipe, steps_per_epoch: int) -> None:
        self._recipe = recipe
        self._steps_per_epoch = steps_per_epoch
        self._steps = recipe.epochs * steps_per_epoch
        self._warmup = round(recipe.warmup_epochs * steps_per_epoch)
        self._milestones = recipe.milestones or _half_and_three_quarters(recipe.epochs)
        self._plateau = Plateau(recipe.plateau_patience)

    def factor(self, step: int) -> float:
        """The factor of the learning rate at ``step``, counted from 0 over the whole run."""
        if step < self._warmup:
            return (step + 1) / self._warmup
        recipe = self._recipe
        if recipe.schedule == "cosine":
            done = (step - self._warmup) / (self._steps - self._warmup)
            return 0.5 * (1 + math.cos(math.pi * done))
        if recipe.schedule == "step":
            epoch = step // self._steps_per_epoch
            passed: int = sum(epoch >= milestone for milestone in self._milestones)
            return float(recipe.gamma**passed)
        if recipe.schedule == "plateau":
            return float(recipe.plateau_factor**self._plateau.lowered)
        return 1.0

    def observe(self, score: float | None) -> None:
        """Tell the schedule an epoch's validation score (higher is better)."""
        if score is not None:
            self._plateau.observe(score)

    def state_dict(self) -> dict[str, Any]:
        """What cannot be computed from the step alone."""
        return vars(self._plateau).copy()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._plateau = Plateau(**state)


@dataclass
class Plateau:
    """How often the score has gone ``patience`` + 1 epochs without a better value."""

    patience: int
    best: float = -math.inf
    waited: int = 0
    lowered: int = 0

    def observe(self, score: float) -> None:
        if score > self.best + PLATEAU_THRESHOLD:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.lowered, self.waited = self.lowered + 1, 0


def _half_and_three_quarters(epochs: int) -> tuple[int, ...]:
    return tuple(epoch for epoch in (epochs // 2, epochs * 3 // 4) if epoch >= 1)

"""Learning-rate factors against torch's own schedulers and the formulae."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from fixhead.training import Recipe
from fixhead.training.engine import Schedule

STEPS = 7  # per epoch


def factors(recipe: Recipe) -> list[float]:
    schedule = Schedule(recipe, STEPS)
    return [schedule.factor(step) for step in range(recipe.epochs * STEPS)]


def sgd() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def torch_factors(scheduler: lr_scheduler.LRScheduler, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return rates


def test_cosine_agrees_with_torch() -> None:
    recipe = Recipe(epochs=5, schedule="cosine", warmup_epochs=0)
    expected = torch_factors(lr_scheduler.CosineAnnealingLR(sgd(), T_max=35), 35)
    assert factors(recipe) == pytest.approx(expected, abs=1e-12)


def test_steps_agree_with_torch_epoch_by_epoch() -> None:
    recipe = Recipe(epochs=9, schedule="step", milestones=(3, 7), gamma=0.2, warmup_epochs=0)
    expected = torch_factors(lr_scheduler.MultiStepLR(sgd(), [3, 7], gamma=0.2), 9)
    assert factors(recipe)[::STEPS] == pytest.approx(expected)
    assert factors(recipe)[STEPS - 1 :: STEPS] == pytest.approx(expected)


def test_milestones_left_out_are_a_half_and_three_quarters() -> None:
    recipe = Recipe(epochs=8, schedule="step", warmup_epochs=0)
    assert factors(recipe)[::STEPS] == pytest.approx([1] * 4 + [0.1] * 2 + [0.01] * 2)


def test_warm_up_grows_linearly_to_one_and_then_the_cosine_begins() -> None:
    rates = factors(Recipe(epochs=5, warmup_epochs=2))
    assert rates[:14] == pytest.approx([(step + 1) / 14 for step in range(14)])
    expected = torch_factors(lr_scheduler.CosineAnnealingLR(sgd(), T_max=21), 21)
    assert rates[14:] == pytest.approx(expected, abs=1e-12)


def test_warm_up_over_the_whole_run_never_divides_by_zero() -> None:
    assert factors(Recipe(epochs=2, warmup_epochs=2))[-1] == 1


def test_constant_stays_one() -> None:
    assert set(factors(Recipe(epochs=2, schedule="constant", warmup_epochs=0))) == {1.0}


@given(
    scores=st.lists(st.sampled_from([0.1, 0.5, 0.50005, 0.7, 0.9]), min_size=1, max_size=30),
    patience=st.integers(0, 4),
)
@settings(deadline=None, max_examples=100)
def test_plateau_agrees_with_torch(scores: list[float], patience: int) -> None:
    recipe = Recipe(
        epochs=30,
        schedule="plateau",
        warmup_epochs=0,
        plateau_patience=patience,
        plateau_factor=0.5,
    )
    schedule, optimizer = Schedule(recipe, STEPS), sgd()
    theirs = lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", factor=0.5, patience=patience, threshold_mode="abs", eps=0
    )
    for epoch, score in enumerate(scores, start=1):
        schedule.observe(score)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs.step(score)
        assert schedule.factor(epoch * STEPS) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_a_restored_plateau_goes_on_where_it_was() -> None:
    recipe = Recipe(schedule="plateau", plateau_patience=1, warmup_epochs=0)
    first, second = Schedule(recipe, STEPS), Schedule(recipe, STEPS)
    for score in (0.5, 0.4, 0.4, 0.3):
        first.observe(score)
    second.load_state_dict(first.state_dict())
    for score in (0.3, 0.6, 0.2, 0.2):
        first.observe(score)
        second.observe(score)
        assert first.factor(50) == second.factor(50)
    assert first.factor(50) == pytest.approx(0.2**3)

"""``convergence``: cross-entropy and dot regression on the same ETF, gradients and trainings.

How straight do the two losses' gradients lead a feature to its class vector, and in how many
epochs does a network come by a training accuracy?
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import mean
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..._seeds import stream
from ...logits import unit
from ...losses.regression import dot_regression
from ...runs.records import Record
from ...vectors.polytopes import simplex
from ..item import (
    Claim,
    Content,
    Item,
    LoadContext,
    PaperFigure,
    Read,
    TableEntry,
    computed_cells,
    only,
    read_test_accuracy,
)
from ..recipe import PaperRecipe, PaperRequest, place
from .recipe import ETF_CE, ETF_DR, NAME, PLACES, balanced, cells, notes, option

# --- gradients on the sphere ----------------------------------------------------------------------

LOSSES = ("cross-entropy", "dot regression")
RECORDED_AS = "fixhead.papers.yang2022.gradients.straightness"
STRIDE = 0.01
"""Radians of a step."""
NEAR = 0.2
"""Radians from its class vector at which a feature has arrived."""
MOST = 400


def straightness(load: LoadContext, seed: int, *, classes: int, scale: float) -> Record:
    """Unit features on a sphere, drawn at random, walk down each loss in steps of equal length.

    accuracy: the cosine between −∂ℓ/∂h in the sphere's tangent plane and the shortest way to w_y,
    where the features start; detour: the length of the whole way over the shortest one, less 1;
    arrived: the share that came within ``NEAR``. d = K, W a simplex ETF.

    Cross-entropy of scale · W h pulls to w_y and pushes away from every other row; dot regression
    only pulls, so its accuracy is 1 and its detour 0, but for the last step's length.
    """
    draws = stream(seed, "straightness", classes)
    W = simplex(classes, classes, generator=draws, dtype=torch.float64)
    labels = torch.arange(classes).repeat(max(1, 400 // classes))
    h = unit(torch.randn(len(labels), classes, generator=draws, dtype=torch.float64))
    return {name: _walk(h, W, labels, name, scale) for name in LOSSES}


def _walk(h: Tensor, W: Tensor, labels: Tensor, name: str, scale: float) -> Record:
    w = W[labels]
    start = _angle(h, w)
    accuracy = float((_down(h, W, labels, name, scale) * _way(h, w)).sum(dim=1).mean())
    steps = torch.zeros(len(labels))
    going = start > NEAR
    for _ in range(MOST):
        if not bool(going.any()):
            break
        turned = h * math.cos(STRIDE) + _down(h, W, labels, name, scale) * math.sin(STRIDE)
        h = torch.where(going.unsqueeze(1), turned, h)
        steps += going
        going = going & (_angle(h, w) > NEAR)
    walked = ~going & (start > NEAR)
    way = (start - _angle(h, w))[walked]
    detour = (steps[walked] * STRIDE / way - 1).mean()
    return {
        "accuracy": accuracy,
        "detour": float(detour),
        "arrived": float((~going).double().mean()),
    }


def _down(h: Tensor, W: Tensor, labels: Tensor, name: str, scale: float) -> Tensor:
    """The unit tangent direction of steepest descent."""
    h = h.detach().requires_grad_()
    if name == "cross-entropy":
        loss = cross_entropy(scale * h @ W.T, labels, reduction="sum")
    else:
        loss = dot_regression(h, W, labels, form="paper", lengths="none", reduction="sum")
    (slope,) = torch.autograd.grad(loss, h)
    h = h.detach()
    return unit(-slope + (slope * h).sum(dim=1, keepdim=True) * h)


def _way(h: Tensor, w: Tensor) -> Tensor:
    """The unit tangent direction of the shortest way to w."""
    return unit(w - (h * w).sum(dim=1, keepdim=True) * h)


def _angle(h: Tensor, w: Tensor) -> Tensor:
    return (h * w).sum(dim=1).clamp(-1, 1).arccos()


# --- the item -------------------------------------------------------------------------------------

GOALS = {"mnist": 0.9, "cifar10-jpeg": 0.3}
FULL_GOAL = 0.9
"""Training accuracies that every run should come by (small: set after the first runs)."""
WALKS = ((10, 1.0), (10, 6.0), (100, 9.0), (200, 10.0))
"""(K, S): S about where a feature on its vector has probability 0.99 (and S = 1 once)."""


def convergence(request: PaperRequest) -> Content:
    """Cross-entropy against dot regression on the same ETF: gradients, and epochs to a loss.

    fixhead paper yang2022 convergence --scale small --data-dir DIR
    One CPU core: seconds for the gradients; the networks are those of ``balanced``.
    """
    entries, claims = _gradients(request)
    drawings = []
    for data, net in PLACES[request.scale]:
        # Under mixup a training accuracy says little.
        chosen = _unmixed(balanced(request, data, net))
        where = place(data, net)
        goal = GOALS.get(data, FULL_GOAL)
        columns: dict[str, tuple[Any, Any]] = {
            f"epochs to {100 * goal:.0f} % training accuracy": (epochs_to(goal), "number"),
            "training accuracy of the first epoch": (_first, "percent"),
            "training accuracy, mean over the epochs": (_over_epochs, "percent"),
            "test accuracy": (read_test_accuracy, "percent"),
        }
        by_arm: dict[tuple[str, str], TableEntry] = {}
        for words, (read, shown_as) in columns.items():
            for arm in (ETF_CE, ETF_DR):
                by_arm[arm, words] = TableEntry(
                    f"{where}: {words}",
                    arm,
                    option(request, chosen, arm),
                    read,
                    unit=shown_as,
                    where=where,
                    metric=words,
                )
        entries += by_arm.values()
        claims += [
            Claim(f"{where}: dot regression ahead in {words}", by_arm[ETF_DR, words],
                  by_arm[ETF_CE, words])
            for words in list(columns)[1:]
        ]  # fmt: skip
        drawings.append(_curves(request, chosen, where))
    note = (
        "Accuracy of gradients: the cosine, on the sphere, between the way down and the shortest "
        "way to the class vector. Detour: how much longer the whole way is than the shortest. "
        "Both losses share network, ETF, BatchNorm neck, learning rate and data order. At the "
        "small scale CIFAR-10's goal was lowered from 40 to 30 % training accuracy after the first "
        "runs, of which one alone had come by 40 %."
    )
    return Content(entries, claims, drawings, notes(request, note))


def _gradients(request: PaperRequest) -> tuple[list[TableEntry], list[Claim]]:
    entries: list[TableEntry] = []
    claims: list[Claim] = []
    for classes, scale in WALKS:
        walks = only(
            computed_cells(request, straightness, RECORDED_AS, classes=classes, scale=scale)
        )
        by_loss = {
            (loss, key): TableEntry(
                f"free features, K = {classes}, S = {scale:g}: {words}",
                loss,
                walks,
                _part(loss, key),
                unit="number",
                where=f"free features, K = {classes}, S = {scale:g}",
                metric=words,
            )
            for key, words in (
                ("accuracy", "accuracy of the first gradient"),
                ("detour", "detour on the way"),
            )
            for loss in LOSSES
        }
        entries += by_loss.values()
        claims.append(
            Claim(
                f"K = {classes}, S = {scale:g}: dot regression's gradient is the more accurate",
                by_loss["dot regression", "accuracy"],
                by_loss["cross-entropy", "accuracy"],
                by_construction="dot regression has no other pull than the shortest way",
            )
        )
    return entries, claims


def _unmixed(chosen: PaperRecipe) -> PaperRecipe:
    words = chosen.config.augmentation.split(",")
    plain = [word for word in words if not word.startswith("mixup")]
    return chosen.changed(augmentation=",".join(plain) or "none")


def _curves(request: PaperRequest, chosen: PaperRecipe, where: str) -> PaperFigure:
    by_arm = {arm: cells(request, chosen, arm) for arm in (ETF_CE, ETF_DR)}

    def draw(records: Mapping[str, Record]) -> dict[str, Any] | None:
        series = [
            {"name": arm, "x": [row["epoch"] for row in history],
             "y": [row["train_accuracy"] for row in history]}
            for arm, runs in by_arm.items()
            for history in (records[cell.name]["history"] for cell in runs if cell.name in records)
        ]  # fmt: skip
        return {"series": series, "x": "epoch", "y": "training accuracy"} if series else None

    return PaperFigure(
        "curves",
        f"{where}: training accuracy over the epochs",
        "Measured here: a line for every run, on the batches while they are learned from.",
        "The abstract: the squared loss “enjoys a more accurate gradient and better convergence”.",
        tuple(cell for runs in by_arm.values() for cell in runs),
        draw,
    )


# --- reading records ------------------------------------------------------------------------------


def _part(loss: str, key: str) -> Read:
    return lambda row: float(row["found"][loss][key])


def epochs_to(goal: float) -> Read:
    """The first epoch in which so many were right; None where none was."""

    def read(row: Record) -> float | None:
        reached = [one["epoch"] for one in row["history"] if one["train_accuracy"] >= goal]
        return float(reached[0]) if reached else None

    return read


def _first(row: Record) -> float:
    return float(row["history"][0]["train_accuracy"])


def _over_epochs(row: Record) -> float:
    return mean(float(one["train_accuracy"]) for one in row["history"])


ITEMS = (
    Item(NAME, "convergence", "Cross-entropy and dot regression on the same ETF", convergence),
)

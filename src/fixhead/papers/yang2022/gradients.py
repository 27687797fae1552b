"""How straight the two losses' gradients lead a feature to its class vector, on the same ETF."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..._seeds import stream
from ...logits import unit
from ...losses import dot_regression
from ...runs.records import Record
from ...vectors import simplex
from ..cells import LoadSetting

LOSSES = ("cross-entropy", "dot regression")
STRIDE = 0.01
"""Radians of a step."""
NEAR = 0.2
"""Radians from its class vector at which a feature has arrived."""
MOST = 400


def straightness(load: LoadSetting, seed: int, *, classes: int, scale: float) -> Record:
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

"""SGD with momentum, Adam and AdamW over two groups of weights.

Decayed: every trained weight of the backbone, its biases and BatchNorm weights among them (as
torch's optimisers do by default and the papers' code did), and learned class vectors.
Not decayed: the head's scale and bias.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .._errors import RequestError
from .model import Classifier
from .recipe import Recipe

_UNDECAYED = ("scale", "bias")
# fused: one kernel over all weights instead of several per weight
_FUSED_DEVICES = ("cpu", "cuda")


def build_optimizer(model: Classifier, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over the trained weights of ``model``.

    sgd    v ← μ v + g + λ w;  w ← w − η (g + λ w + μ v) with Nesterov, w − η v without
    adam   Kingma & Ba 2015 on the gradient g + λ w (coupled L2)
    adamw  Loshchilov & Hutter 2019: w ← (1 − η λ) w, then Adam's step on g

    Raises:
        RequestError: nothing in the model is trained.
    """
    groups = parameter_groups(model, recipe.weight_decay)
    if not groups:
        raise RequestError("the model has no trained weights, so there is nothing to train")
    options: dict[str, Any] = {"lr": recipe.lr, "fused": _fused(model)}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups, momentum=recipe.momentum, nesterov=recipe.nesterov, **options
        )
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, **options)


def parameter_groups(model: Classifier, weight_decay: float) -> list[dict[str, Any]]:
    """The decayed and the undecayed weights; a group without weights is left out."""
    spared = {
        id(weight)
        for name, weight in model.head.named_parameters(recurse=False)
        if name in _UNDECAYED
    }
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [w for w in trained if id(w) not in spared], "weight_decay": weight_decay},
        {"params": [w for w in trained if id(w) in spared], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _fused(model: nn.Module) -> bool:
    return all(weight.device.type in _FUSED_DEVICES for weight in model.parameters())

"""The three optimisers against their formulae in float64, and what decays."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from training_toys import tiny

from fixhead._errors import RequestError
from fixhead.training import Classifier, Recipe
from fixhead.training.engine import build_optimizer, parameter_groups

LR, DECAY, MOMENTUM = 0.1, 0.3, 0.9


def model_in_float64(head: str = "learned-dot") -> Classifier:
    return tiny(head=head).double()


def three_steps(optimizer: torch.optim.Optimizer, weight: Tensor, gradients: list[Tensor]) -> None:
    for gradient in gradients:
        optimizer.zero_grad()
        weight.grad = gradient.clone()
        optimizer.step()


def sgd(w: Tensor, gradients: list[Tensor], decay: float, nesterov: bool) -> Tensor:
    v = torch.zeros_like(w)
    for gradient in gradients:
        g = gradient + decay * w
        v = MOMENTUM * v + g
        w = w - LR * (g + MOMENTUM * v if nesterov else v)
    return w


def adam(w: Tensor, gradients: list[Tensor], decay: float, coupled: bool) -> Tensor:
    m = v = torch.zeros_like(w)
    for t, gradient in enumerate(gradients, start=1):
        g = gradient + decay * w if coupled else gradient
        w = w if coupled else w * (1 - LR * decay)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - LR * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    return w


@pytest.mark.parametrize("kind", ["sgd", "sgd-nesterov", "adam", "adamw"])
@pytest.mark.parametrize(("name", "decay"), [("vectors", DECAY), ("bias", 0.0)])
def test_optimisers_follow_their_formulae(kind: str, name: str, decay: float) -> None:
    model = model_in_float64()
    recipe = Recipe(
        optimizer=kind.split("-")[0],
        nesterov=kind == "sgd-nesterov",
        lr=LR,
        weight_decay=DECAY,
        momentum=MOMENTUM,
    )
    weight = getattr(model.head, name)
    start = weight.detach().clone()
    draws = torch.Generator().manual_seed(0)
    gradients = [torch.randn(start.shape, generator=draws, dtype=start.dtype) for _ in range(3)]
    three_steps(build_optimizer(model, recipe), weight, gradients)
    if kind.startswith("sgd"):
        expected = sgd(start, gradients, decay, nesterov=recipe.nesterov)
    else:
        expected = adam(start, gradients, decay, coupled=kind == "adam")
    torch.testing.assert_close(weight.detach(), expected)


def test_scale_and_bias_of_the_head_do_not_decay_and_all_else_does() -> None:
    model = tiny(head="hadamard", classes=4)
    decayed, spared = parameter_groups(model, DECAY)
    assert [id(w) for w in spared["params"]] == [id(model.head.scale)]
    assert (decayed["weight_decay"], spared["weight_decay"]) == (DECAY, 0.0)
    assert {id(w) for w in decayed["params"]} == {id(w) for w in model.backbone.parameters()}


def test_learned_vectors_decay_like_the_backbone() -> None:
    model = tiny(head="learned-dot")
    decayed, spared = parameter_groups(model, DECAY)
    assert any(weight is model.head.vectors for weight in decayed["params"])
    assert [id(w) for w in spared["params"]] == [id(model.head.bias)]


def test_frozen_vectors_are_not_trained_at_all() -> None:
    model = tiny(head="random-cosine@1")
    (decayed,) = parameter_groups(model, DECAY)
    assert {id(w) for w in decayed["params"]} == {id(w) for w in model.backbone.parameters()}


def test_a_model_without_trained_weights_is_refused() -> None:
    model = tiny(head="random-cosine@1").requires_grad_(False)
    with pytest.raises(RequestError, match="no trained weights"):
        build_optimizer(model, Recipe())

"""swap → forward → backward → unswap on one architecture, as tests and the benchmark ask for it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from swap_catalogue import Architecture
from torch import Tensor, nn

from fixhead import ClassificationHead
from fixhead.heads.swap import swap_head, swapped_heads, unswap

CLASSES = 7


def check(row: Architecture) -> dict[str, Any]:
    """Assert everything that must hold, and return the row of the table."""
    model, x = row.build()
    model.eval()
    before = outputs(model, x)
    features = pre_logits(model, x)
    names = dict(model.named_modules())

    start = time.perf_counter()
    report = swap_head(model, "simplex", classes=CLASSES)
    seconds = time.perf_counter() - start

    after = outputs(model, x)
    # In evaluation mode DLA and others give maps (N, K, 1, 1) only where they did before.
    assert [t.dim() for t in after] == [t.dim() for t in before]
    assert all(t.shape[1] == CLASSES for t in after if t.dim() > 1), [t.shape for t in after]
    assert after[0].isfinite().all()
    assert_contract(model, features, x)
    assert_gradients_reach_the_backbone(model, x)
    assert set(names) <= set(dict(model.named_modules())) | {p.name for p in report.places}
    unswap(model)
    assert not swapped_heads(model)
    again = outputs(model, x)
    assert len(again) == len(before)
    assert all(torch.equal(a, b) for a, b in zip(again, before, strict=True))
    assert all(model.get_submodule(name) is module for name, module in names.items())
    return {
        "library": row.library,
        "architecture": row.name,
        "found_by": report.found,
        "heads": [
            f"{place.name}: {place.kind} {place.features} -> {place.classes_before}"
            + (" (auxiliary)" if place.auxiliary else "")
            for place in report.places
        ],
        "parameters": report.model_trainable_before,
        "saved": report.parameters_saved,
        "swap_ms": round(1e3 * seconds, 2),
        "equal_after_unswap": True,
    }


@torch.no_grad()
def outputs(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Every tensor that the model gives in evaluation mode; from Hugging Face the logits only."""
    model.eval()
    with torch.random.fork_rng():  # some models draw at evaluation, too
        torch.manual_seed(0)
        return list(_logits(model(x)))


def _logits(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from (item for key, item in value.items() if "logits" in key)
    elif value is not None:
        for item in value:
            yield from _logits(item)


@torch.no_grad()
def pre_logits(model: nn.Module, x: Tensor) -> Any:
    """timm's features before the head; None for other libraries."""
    if not hasattr(model, "forward_head"):
        return None
    features = model.forward_features(x)
    features = features[0] if getattr(model, "aux_logits", False) else features
    return model.forward_head(features, pre_logits=True)


def assert_contract(model: nn.Module, features: Any, x: Tensor) -> None:
    """timm's three doors: pre_logits as before, get_classifier the new head."""
    if features is None:
        return
    torch.testing.assert_close(pre_logits(model, x), features, rtol=0, atol=0)
    given = model.get_classifier()
    modules = given if isinstance(given, tuple) else (given,)
    for module in modules:
        assert any(isinstance(own, ClassificationHead) for own in module.modules())
    assert getattr(model, "num_classes", CLASSES) == CLASSES


def assert_gradients_reach_the_backbone(model: nn.Module, x: Tensor) -> None:
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tensors = [t for t in _logits(model(x)) if t.dim() > 1]
        assert all(t.shape[1 if t.shape[1] == CLASSES else -1] == CLASSES for t in tensors)
        # Scaled up: a sum of cosines over classes would vanish on a simplex.
        sum(t.square().mean() for t in tensors).backward()
    head = {id(p) for own in swapped_heads(model) for p in own.parameters()}
    backbone = [p for p in model.parameters() if p.requires_grad and id(p) not in head]
    reached = [p for p in backbone if p.grad is not None]
    assert len(reached) >= len(backbone) / 2
    assert all(p.grad.isfinite().all() for p in reached)
    assert any(p.grad.abs().sum() > 0 for p in reached)
    model.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])

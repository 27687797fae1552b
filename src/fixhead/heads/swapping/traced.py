"""Find the layer whose output is what the model returns, by following the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from .affine import Place, affine_layers, is_affine

# What may stand between the last layer and the output without making it another model.
_TRANSPARENT = {
    "flatten", "squeeze", "dropout", "softmax", "log_softmax", "contiguous", "view", "reshape",
    "float", "relu", "adaptive_avg_pool2d", "avg_pool2d", "mean",
}  # fmt: skip


def by_graph(model: nn.Module) -> list[Place]:
    """The layer that the symbolic graph ends in; empty where the model cannot be traced so."""
    try:
        graph = fx.Tracer().trace(model)
    except Exception:  # control flow on data, unpacking of inputs ...: there are as many reasons
        return []
    output = next(node for node in reversed(graph.nodes) if node.op == "output")
    node = output.args[0]
    while isinstance(node, fx.Node):
        module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
        if module is not None and is_affine(module):
            return [Place(str(node.target), module)]
        if not _is_transparent(node, module):
            return []
        node = node.args[0] if node.args else None
    return []


def _is_transparent(node: fx.Node, module: nn.Module | None) -> bool:
    if module is not None:
        return not any(True for _ in module.parameters())
    if node.op == "call_method":
        return str(node.target) in _TRANSPARENT
    return node.op == "call_function" and getattr(node.target, "__name__", "") in _TRANSPARENT


@torch.no_grad()
def by_example(model: nn.Module, example: Any) -> list[Place]:
    """The layer whose output the model returns for ``example``, run once in evaluation mode.

    ``example`` is what the model is called with: a tensor, a tuple of arguments or a mapping of
    keyword arguments. Modes are restored; no buffer is written in evaluation mode.
    """
    outputs: list[tuple[Place, Tensor]] = []
    places = affine_layers(model)
    handles = [
        place.layer.register_forward_hook(
            lambda _layer, _inputs, output, place=place: outputs.append((place, output))
        )
        for place in places
    ]
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        returned = list(_tensors(_call(model, example)))
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    same = [
        place for place, output in outputs if any(_equal(output, tensor) for tensor in returned)
    ]
    return same[-1:]


def _call(model: nn.Module, example: Any) -> Any:
    if isinstance(example, Mapping):
        return model(**example)
    return model(*example) if isinstance(example, tuple) else model(example)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for item in value:
            yield from _tensors(item)


def _equal(output: Tensor, returned: Tensor) -> bool:
    return output.numel() == returned.numel() and torch.equal(output.flatten(), returned.flatten())

"""Which layers of a model are its classification head: what the model itself says comes first.

1. ``where``: the names that the caller gives.
2. ``example``: the layer whose output the model returns.
3. ``model.get_classifier()``: timm's contract, for one head or several.
4. The names that torchvision and Hugging Face give their heads, distillation heads in pairs.
5. The layer that the symbolic graph of the model ends in, or the only Linear there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import torch
from torch import Tensor, fx, nn

from .._errors import RequestError

Affine = nn.Linear | nn.Conv2d


@dataclass(frozen=True)
class Place:
    """Where a layer features → classes sits in a model."""

    name: str
    layer: Affine
    auxiliary: bool = False

    @property
    def features(self) -> int:
        return sizes(self.layer)[0]

    @property
    def classes(self) -> int:
        return sizes(self.layer)[1]

    @property
    def kind(self) -> str:
        return "1x1 convolution" if isinstance(self.layer, nn.Conv2d) else "Linear"

    def __str__(self) -> str:
        return f"{self.name or 'the model itself'} ({self.features} -> {self.classes})"


def is_affine(module: object) -> TypeGuard[Affine]:
    """Whether a module is one linear map of the features, for each image or for each position."""
    if isinstance(module, nn.Conv2d):
        plain = module.kernel_size == (1, 1) and module.stride == (1, 1) and module.groups == 1
        return plain and module.padding in (0, (0, 0), "valid")
    return isinstance(module, nn.Linear) and not isinstance(module, nn.LazyLinear)


def sizes(layer: Affine) -> tuple[int, int]:
    """(features, classes) of the layer."""
    if isinstance(layer, nn.Conv2d):
        return layer.in_channels, layer.out_channels
    return layer.in_features, layer.out_features


def name_of(model: nn.Module, module: nn.Module) -> str | None:
    """The dotted name of ``module`` inside ``model``; None where it is not in it."""
    return next((name for name, own in model.named_modules() if own is module), None)


def affine_layers(model: nn.Module) -> list[Place]:
    """Every layer that could be a head, in the order of registration."""
    return [Place(name, own) for name, own in model.named_modules() if is_affine(own)]


def final_layers(module: nn.Module, classes: int | None) -> list[Affine]:
    """The layers inside a classifier that end in logits.

    The module itself; the last of each branch of a ModuleList; the last of a Sequential; elsewhere
    all that have ``classes`` outputs (two for a head with a distillation branch), or the last one
    where the number of classes is not known. Empty where nothing fits, or where one of several
    could feed another.
    """
    if is_affine(module):
        return [module]
    if isinstance(module, nn.ModuleList):
        return [layer for branch in module for layer in final_layers(branch, classes)]
    inner = [own for own in module.modules() if is_affine(own)]
    if classes is None or isinstance(module, nn.Sequential):
        return inner[-1:]
    fitting = [layer for layer in inner if sizes(layer)[1] == classes]
    chained = len(fitting) > 1 and any(sizes(layer)[0] == classes for layer in fitting[1:])
    return [] if chained else fitting


NAMES: tuple[tuple[str, ...], ...] = (
    ("cls_classifier", "distillation_classifier"),
    ("classifier", "classifier_distill"),
    ("head", "dist_head"),
    ("head", "head_dist"),
    ("classifier",),
    ("fc",),
    ("head",),
    ("heads",),
    ("last_linear",),
)
"""Names of heads at the top of a model: the pairs of distilled models first."""

AUXILIARY = ("AuxLogits", "aux1", "aux2", "aux_head", "aux_classifier")
"""Names of heads that only training uses."""


@dataclass(frozen=True)
class Found:
    """The heads of a model, the auxiliary ones last, and by what they were recognised."""

    places: tuple[Place, ...]
    how: str


def locate(
    model: nn.Module, *, where: str | Sequence[str] | None = None, example: Any = None
) -> Found:
    """The heads of ``model``.

    Raises:
        RequestError: none is understood for certain; the message lists the candidates.
    """
    if where is not None:
        names = (where,) if isinstance(where, str) else tuple(where)
        return Found(tuple(_named(model, name) for name in names), "where")
    ways: list[tuple[str, Callable[[], list[Place]]]] = [
        ("get_classifier()", lambda: _by_contract(model)),
        ("its name", lambda: _by_name(model)),
        ("the graph's end", lambda: by_graph(model)),
        ("the only Linear", lambda: _only(model)),
    ]
    if example is not None:
        ways = [("the example's output", lambda: by_example(model, example))]
    for how, find in ways:
        places = find()
        if places:
            return Found((*places, *_auxiliary(model, places)), how)
    raise _not_understood(model, example is not None)


def known_classes(model: nn.Module) -> int | None:
    """The number of classes that the model states: ``num_classes`` or ``config.num_labels``."""
    stated = getattr(model, "num_classes", None)
    if stated is None:
        stated = getattr(getattr(model, "config", None), "num_labels", None)
    return stated if isinstance(stated, int) and stated > 0 else None


def _named(model: nn.Module, name: str) -> Place:
    try:
        module = model.get_submodule(name)
    except AttributeError:
        raise RequestError(
            f"where={name!r} names no module of {type(model).__name__}; {_candidates(model)}"
        ) from None
    if not is_affine(module):
        raise RequestError(
            f"where={name!r} must name a Linear or a 1x1 convolution, got "
            f"{type(module).__name__}; {_candidates(model)}"
        )
    return Place(name, module)


def _by_contract(model: nn.Module) -> list[Place]:
    classifier = getattr(model, "get_classifier", None)
    if not callable(classifier):
        inner = getattr(model, "timm_model", None)  # transformers' wrapper round timm
        if not isinstance(inner, nn.Module):
            return []
        return [replace(own, name=f"timm_model.{own.name}") for own in _by_contract(inner)]
    given = classifier()
    modules = given if isinstance(given, tuple | list) else (given,)
    if any(isinstance(module, nn.Identity) for module in modules):
        raise RequestError(
            f"{type(model).__name__} has no classifier (its get_classifier() is an Identity); "
            "build it with num_classes=…, or call reset_classifier(…) first"
        )
    return [place for module in modules for place in _inside(model, module)]


def _by_name(model: nn.Module) -> list[Place]:
    children = dict(model.named_children())
    for names in NAMES:
        if not all(name in children for name in names):
            continue
        places = [place for name in names for place in _inside(model, children[name])]
        if len(places) >= len(names):
            # Two such names side by side: which one ends the model is not for us to say.
            rest = [other for (other,) in NAMES[4:] if other in children and other not in names]
            return [] if any(_inside(model, children[other]) for other in rest) else places
    return []


def _only(model: nn.Module) -> list[Place]:
    linears = [place for place in affine_layers(model) if isinstance(place.layer, nn.Linear)]
    return linears if len(linears) == 1 else []


def _inside(model: nn.Module, module: nn.Module) -> list[Place]:
    layers = final_layers(module, known_classes(model))
    return [Place(name, layer) for layer in layers if (name := name_of(model, layer)) is not None]


def _auxiliary(model: nn.Module, places: list[Place]) -> list[Place]:
    taken = {place.name for place in places}
    children = dict(model.named_children())
    found = [
        place for name in AUXILIARY if name in children for place in _inside(model, children[name])
    ]
    return [replace(place, auxiliary=True) for place in found if place.name not in taken]


def _not_understood(model: nn.Module, with_example: bool) -> RequestError:
    tried = "no layer's output is what the model returns" if with_example else "its head is unclear"
    return RequestError(
        f"swap_head() needs to know which layer of {type(model).__name__} gives the logits, and "
        f"{tried}; {_candidates(model)}"
    )


def _candidates(model: nn.Module, most: int = 8) -> str:
    places = affine_layers(model)
    if not places:
        return "it holds neither a Linear nor a 1x1 convolution that could be one"
    shown = ", ".join(str(place) for place in places[-most:])
    earlier = f" and {len(places) - most} earlier ones" if len(places) > most else ""
    return f"candidates are {shown}{earlier}: name one with where=…, or pass example=INPUT"


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

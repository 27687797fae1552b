"""Which layers of a model are its classification head: what the model itself says comes first.

1. ``where``: the names that the caller gives.
2. ``example``: the layer whose output the model returns.
3. ``model.get_classifier()``: timm's contract, for one head or several.
4. The names that torchvision and Hugging Face give their heads, distillation heads in pairs.
5. The layer that the symbolic graph of the model ends in, or the only Linear there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from ..._errors import RequestError
from .affine import Place, affine_layers, final_layers, is_affine, name_of
from .traced import by_example, by_graph

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

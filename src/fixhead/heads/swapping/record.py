"""What a swap changed, kept on the model so that it can be taken back exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

RECORD = "_fixhead_swap"

HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_is_full_backward_hook",
)
"""Where nn.Module keeps the hooks that see data; those of the state_dict belong to the layer."""


@dataclass
class Exchange:
    """One layer that was replaced; ``old`` is None where it was not to be kept."""

    name: str
    old: nn.Module | None
    new: nn.Module
    device_and_dtype: tuple[Any, Any]


@dataclass
class SwapRecord:
    """Replaced layers, and the statements about classes that changed: (object, name, before).

    It is a plain attribute, so nothing in it is in the state_dict, in ``parameters()``, or moved.
    """

    exchanges: list[Exchange]
    statements: list[tuple[Any, str, Any]] = field(default_factory=list)


def record_of(model: nn.Module) -> SwapRecord | None:
    """The record of the swap that ``model`` has behind it."""
    record = model.__dict__.get(RECORD)
    return record if isinstance(record, SwapRecord) else None


def put(model: nn.Module, name: str, module: nn.Module) -> None:
    """Set the submodule ``name``, as an assignment to the attribute of its parent would."""
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, module)


def share_hooks(source: nn.Module, target: nn.Module) -> None:
    """Let both modules hold one and the same hooks, so that handles go on removing them."""
    for name in HOOKS:
        target.__dict__[name] = source.__dict__[name]


def restate_classes(
    model: nn.Module, names: list[str], before: int, after: int
) -> list[tuple[Any, str, Any]]:
    """Let the model and the modules round its heads state the new number of classes.

    ``num_classes`` and ``num_labels`` where they are ``before``, and a Hugging Face ``config``,
    whose label names follow from the number. Returns what to restore.
    """
    if before == after:
        return []
    changed: list[tuple[Any, str, Any]] = []
    config: Any = getattr(model, "config", None)
    if getattr(config, "num_labels", None) == before:
        labels = ("id2label", "label2id")
        changed += [(config, key, getattr(config, key)) for key in labels if hasattr(config, key)]
        config.num_labels = after
        if not any(key == "id2label" for _, key, _ in changed):
            changed.append((config, "num_labels", before))
    for module in _round(model, names):
        for key in ("num_classes", "num_labels"):
            if getattr(module, key, None) == before:
                changed.append((module, key, before))
                setattr(module, key, after)
    return changed


def restore(statements: list[tuple[Any, str, Any]]) -> None:
    """Undo ``restate_classes``."""
    for owner, name, value in reversed(statements):
        setattr(owner, name, value)


def _round(model: nn.Module, names: list[str]) -> list[nn.Module]:
    prefixes = {
        ".".join(name.split(".")[:depth]) for name in names for depth in range(name.count(".") + 1)
    }
    return [model.get_submodule(prefix) for prefix in sorted(prefixes)]

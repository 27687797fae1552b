"""fixhead: the classification layer, designed instead of learned.

``import fixhead`` is light: every name below is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__

if TYPE_CHECKING:
    from . import geometry, heads, logits, losses, many_classes, metrics, vectors
    from ._errors import MissingExtraError, RequestError
    from .evaluation.predict import load
    from .geometry import Certificate, certify
    from .heads import ClassificationHead
    from .heads.swap import swap_head, unswap
    from .training.finetune import finetune_head


__all__ = [
    "Certificate",
    "ClassificationHead",
    "MissingExtraError",
    "RequestError",
    "certify",
    "finetune_head",
    "geometry",
    "heads",
    "load",
    "logits",
    "losses",
    "many_classes",
    "metrics",
    "swap_head",
    "unswap",
    "vectors",
]

_ROOMS = {"geometry", "heads", "logits", "losses", "many_classes", "metrics", "vectors"}
_HOMES = {
    "Certificate": "geometry",
    "ClassificationHead": "heads",
    "MissingExtraError": "_errors",
    "RequestError": "_errors",
    "certify": "geometry",
    "finetune_head": "training.finetune",
    "load": "evaluation.predict",
    "swap_head": "heads.swap",
    "unswap": "heads.swap",
}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

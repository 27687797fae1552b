"""Import torchvision where its compiled operators do not fit torch's build.

torchvision's public wheel is compiled against torch's CUDA build. Beside a CPU build of torch its
operator library does not load, and ``import torchvision`` then ends in ``RuntimeError: operator
torchvision::nms does not exist``: it attaches shape functions to detection operators that were
never declared. Classifiers and image transforms use none of them, so declaring the two missing
signatures is enough to import everything else; calling one of these operators still fails, and
says that it has no implementation.

timm imports torchvision, so call ``import_torchvision()`` before importing timm as well.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

from ._errors import require

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

# torch withdraws a declaration when its Library object is collected: these live with the module.
_declared: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """The torchvision module, whether or not its compiled operators fit this torch.

    Raises:
        MissingExtraError: torchvision is not installed.
    """
    if "torchvision" in sys.modules:
        return sys.modules["torchvision"]
    try:
        return require("torchvision", extra="lab")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    _declare_missing_operators()
    _forget_half_loaded_modules()
    return importlib.import_module("torchvision")


def _declare_missing_operators() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)  # type: ignore[no-untyped-call]
    _declared.append(library)


def _forget_half_loaded_modules() -> None:
    # A failed import leaves submodules behind that the second import would not attach again.
    for name in [name for name in sys.modules if name.startswith("torchvision.")]:
        del sys.modules[name]

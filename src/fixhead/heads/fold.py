"""A classification head as one nn.Linear, so that every other tool can use it.

dot:     z = S · W p + b,  p = x                 →  W' = S W,        b' = b
         p = A x + a           (linear neck)     →  W' = S W A,      b' = S W a + b
         p = g (x − μ)/√(v+ε) + h  (batchnorm)   →  the same with A = diag(g/√(v+ε)), a = h − A μ
     behind a learned map L (code_width)      →  L A in place of A, L a in place of a
cosine:  z = S ⟨ŵ, p⟩/‖p‖ + b divides by ‖p‖, which no linear map does. Without a bias the order of
         the classes does not depend on ‖p‖ > 0, so W' = S Ŵ A gives z · ‖p‖: the same predictions,
         other logits.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from .._errors import PerformanceWarning, RequestError
from ..logits import unit

if TYPE_CHECKING:
    from .head import ClassificationHead

Keep = Literal["logits", "ranking"]


@torch.no_grad()
def fold(head: ClassificationHead, keep: Keep = "logits") -> nn.Linear:
    """The nn.Linear (d → K) with the logits, or only the ranking, of ``head``.

    Products run in float64 and are rounded once. A batchnorm neck folds with its running
    statistics, as in evaluation mode.

    Raises:
        RequestError: no Linear computes what this head computes; the message says what to do.
    """
    if keep not in ("logits", "ranking"):
        raise RequestError(f"keep must be 'logits' or 'ranking', got {keep!r}")
    _check_logits(head, keep)
    if head.implicit is not None:
        warnings.warn(
            f"to_linear() stores all {head.classes:,} x {head.width} class vectors of a head that "
            f"stores none: {4 * head.classes * head.features / 2**20:,.1f} MiB",
            PerformanceWarning,
            stacklevel=3,
        )
    own = head.vectors if head.implicit is None else head.implicit.vectors.dense()
    rows = own.double()
    if head.logits == "cosine" and head.learn_vectors:
        rows = unit(rows)  # frozen ones are stored as unit rows, and used as they are
    scale = 1.0 if head.scale is None else head.scale.double()
    matrix, shift = _before(head)
    bias = rows.new_zeros(head.classes) if head.bias is None else head.bias.double()
    if shift is not None:
        bias = bias + scale * (rows @ shift)
    rows = scale * (rows if matrix is None else rows @ matrix)
    kept = bias if head.bias is not None or shift is not None else None
    return _linear(head, rows.to(own.dtype), None if kept is None else kept.to(own.dtype))


def _check_logits(head: ClassificationHead, keep: str) -> None:
    if head.logits == "dot":
        return
    if keep == "logits":
        raise RequestError(
            f"to_linear() needs dot logits, got logits={head.logits!r}, which divide by the "
            "feature's length, and no Linear does; export the model with the head (ONNX), or use "
            "to_linear(keep='ranking') for a Linear that predicts the same classes"
        )
    if head.bias is not None:
        raise RequestError(
            f"to_linear(keep='ranking') needs a head without bias, got logits={head.logits!r} with "
            "one: then the feature's length decides about the ranking as well; export the model "
            "with the head (ONNX)"
        )
    if head.scale is not None and float(head.scale) <= 0:
        raise RequestError(
            f"to_linear(keep='ranking') needs a scale above 0, got {float(head.scale):g}"
        )


def _before(head: ClassificationHead) -> tuple[Tensor | None, Tensor | None]:
    """A (D, d) and a (D,) of neck and learned map together."""
    matrix, shift = _neck(head)
    if head.lift is None:
        return matrix, shift
    lift = head.lift.double()
    return lift if matrix is None else lift @ matrix, None if shift is None else lift @ shift


def _neck(head: ClassificationHead) -> tuple[Tensor | None, Tensor | None]:
    """A (D, d) and a (D,) of the neck; None and None where there is none."""
    neck = head.neck
    if isinstance(neck, nn.Identity):
        return None, None
    if isinstance(neck, nn.Linear):
        return neck.weight.double(), neck.bias.double()
    if isinstance(neck, nn.BatchNorm1d):
        assert neck.running_mean is not None
        assert neck.running_var is not None
        gain = neck.weight.double() / torch.sqrt(neck.running_var.double() + neck.eps)
        return torch.diag(gain), neck.bias.double() - gain * neck.running_mean.double()
    raise RequestError(
        f"to_linear() needs a neck that is linear (none, linear or batchnorm), got "
        f"neck={head.neck_name!r}; export the model with the head (ONNX)"
    )


def _linear(head: ClassificationHead, rows: Tensor, bias: Tensor | None) -> nn.Linear:
    # On the meta device nn.Linear draws nothing from the global generator.
    layer = nn.Linear(head.features, head.classes, bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(rows)
    if bias is not None:
        layer.bias = nn.Parameter(bias)
    return layer.train(head.training)

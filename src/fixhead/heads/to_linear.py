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

from typing import Literal

import torch
from torch import Tensor, nn

from .._errors import RequestError
from ..logits import unit

Keep = Literal["logits", "ranking"]


@torch.no_grad()
def to_linear(
    vectors: Tensor,
    *,
    logits: str,
    scale: Tensor | None,
    bias: Tensor | None,
    neck: nn.Module,
    neck_name: str,
    code_map: Tensor | None,
    unit_vectors: bool,
    keep: Keep = "logits",
) -> nn.Linear:
    """The nn.Linear (d → K) with the logits, or only the ranking, of a head with these parts.

    Products run in float64 and are rounded once. A batchnorm neck folds with its running
    statistics, as in evaluation mode.

    Args:
        vectors: W (K, D).
        scale: S; None for 1.
        bias: b (K,).
        neck, neck_name: the module in front of the vectors, and its word.
        code_map: L (D, d).
        unit_vectors: whether the rows of W are unit rows already.

    Raises:
        RequestError: no Linear computes what this head computes; the message says what to do.
    """
    if keep not in ("logits", "ranking"):
        raise RequestError(f"keep must be 'logits' or 'ranking', got {keep!r}")
    _check_logits(logits, scale, bias, keep)
    matrix, shift = _before(neck, neck_name, code_map)
    rows = vectors.double()
    if logits == "cosine" and not unit_vectors:
        rows = unit(rows)
    factor = 1.0 if scale is None else scale.double()
    total = rows.new_zeros(len(rows)) if bias is None else bias.double()
    if shift is not None:
        total = total + factor * (rows @ shift)
    rows = factor * (rows if matrix is None else rows @ matrix)
    has_bias = bias is not None or shift is not None
    return _linear(rows.to(vectors.dtype), total.to(vectors.dtype) if has_bias else None)


def _check_logits(logits: str, scale: Tensor | None, bias: Tensor | None, keep: Keep) -> None:
    if logits == "dot":
        return
    if keep == "logits":
        raise RequestError(
            f"to_linear() needs dot logits, got logits={logits!r}, which divide by the "
            "feature's length, and no Linear does; export the model with the head (ONNX), or use "
            "to_linear(keep='ranking') for a Linear that predicts the same classes"
        )
    if bias is not None:
        raise RequestError(
            f"to_linear(keep='ranking') needs a head without bias, got logits={logits!r} with "
            "one: then the feature's length decides about the ranking as well; export the model "
            "with the head (ONNX)"
        )
    if scale is not None and float(scale) <= 0:
        raise RequestError(f"to_linear(keep='ranking') needs a scale above 0, got {float(scale):g}")


def _before(
    neck: nn.Module, name: str, code_map: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """A (D, d) and a (D,) of neck and learned map together."""
    matrix, shift = _neck(neck, name)
    if code_map is None:
        return matrix, shift
    wide = code_map.double()
    return wide if matrix is None else wide @ matrix, None if shift is None else wide @ shift


def _neck(neck: nn.Module, name: str) -> tuple[Tensor | None, Tensor | None]:
    """A (D, d) and a (D,) of the neck; None and None where there is none."""
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
        f"neck={name!r}; export the model with the head (ONNX)"
    )


def _linear(rows: Tensor, bias: Tensor | None) -> nn.Linear:
    classes, features = rows.shape
    # On the meta device nn.Linear draws nothing from the global generator.
    layer = nn.Linear(features, classes, bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(rows)
    if bias is not None:
        layer.bias = nn.Parameter(bias)
    return layer

"""Vectors that somebody else made."""

from __future__ import annotations

import torch
from torch import Tensor

from .._errors import RequestError
from ._request import check_dtype, check_size
from .distinct import first_equal


def from_tensor(tensor: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """w_k = t_k / ‖t_k‖ for the rows t of a (K, d) tensor, on the CPU, in ``dtype``.

    Whole numbers (±1 codes, say) are taken too.

    Raises:
        RequestError: not (K, d), a row that is zero or not finite, or two rows with the same
            direction in this dtype; the rows are named.
    """
    check_dtype("from_tensor", dtype)
    if not isinstance(tensor, Tensor) or tensor.ndim != 2 or tensor.is_complex():
        came = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        raise RequestError(f"from_tensor() needs a real tensor (classes, features), got {came}")
    check_size("from_tensor", *tensor.shape)
    wide = tensor.detach().cpu().double()
    finite = torch.isfinite(wide).all(dim=1)
    _refuse_rows(~finite, "finite rows", "NaN or infinity")
    # Divided by the largest entry first: squares of very large or small rows stay in range.
    largest = wide.abs().amax(dim=1, keepdim=True)
    _refuse_rows((largest == 0).squeeze(1), "rows that are not zero", "zeros only")
    scaled = wide / largest
    norms: Tensor = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    rows = (scaled / norms).to(dtype) + 0.0
    first = first_equal(rows)
    repeated = (first != torch.arange(rows.shape[0])).nonzero().squeeze(1)
    if repeated.numel():
        row = int(repeated[0])
        raise RequestError(
            f"from_tensor() needs rows of different directions in {dtype}, got the same in rows "
            f"{int(first[row])} and {row} ({repeated.numel()} such rows in all); "
            "remove them, or try a wider dtype"
        )
    return rows


def given(
    classes: int,
    features: int,
    *,
    tensor: Tensor,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """``from_tensor`` for ``build``: the tensor must have the shape (K, d) that was asked for."""
    check_size("from_tensor", classes, features)
    if isinstance(tensor, Tensor) and tuple(tensor.shape) != (classes, features):
        raise RequestError(
            f"from_tensor() needs a tensor of shape (classes, features) = ({classes}, "
            f"{features}), got {tuple(tensor.shape)}"
        )
    return from_tensor(tensor, dtype=dtype)


def _refuse_rows(bad: Tensor, needed: str, came: str) -> None:
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise RequestError(f"from_tensor() needs {needed}, got {came} in row {row}")

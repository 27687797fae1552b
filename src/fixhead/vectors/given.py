"""Vectors that somebody else made: a tensor, or a safetensors file with one tensor, ``vectors``,
and how it was made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from .._errors import RequestError
from .._files import replace_file
from ._request import check_dtype, check_size
from .rows import first_equal


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


TENSOR = "vectors"


def save_vectors(
    path: Path, vectors: Tensor, facts: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """Write vectors (K, d) and ``facts`` (as JSON in the file's metadata), whole or not at all.

    Raises:
        RequestError: the file is there already, or its folder is not.
    """
    check_writable(path, overwrite=overwrite)
    metadata = {"fixhead": json.dumps(dict(facts), sort_keys=True)}
    data = to_bytes({TENSOR: vectors.detach().cpu().contiguous()}, metadata=metadata)
    replace_file(path, lambda draft: draft.write_bytes(data))


def check_writable(path: Path, *, overwrite: bool = False) -> None:
    """Refuse before the work what could not be written after it."""
    if path.is_dir() or not path.parent.is_dir():
        raise RequestError(f"--save needs a file in a folder that exists, got {path}")
    if path.exists() and not overwrite:
        raise RequestError(
            f"--save needs a new file, got {path}, which exists; name another, or say --overwrite"
        )


def load_vectors(path: Path) -> Tensor:
    """The tensor ``vectors`` of a safetensors file, or its only one.

    Raises:
        RequestError: no such file, not safetensors, or several tensors and none of that name.
    """
    try:
        tensors = load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise RequestError(f"--load needs a safetensors file, got {path}: {error}") from error
    if TENSOR in tensors:
        return tensors[TENSOR]
    if len(tensors) != 1:
        names = ", ".join(sorted(tensors)) or "none"
        raise RequestError(
            f"--load needs a file with one tensor, or one named 'vectors', got {path} with {names}"
        )
    return next(iter(tensors.values()))

"""Class vectors in a safetensors file: one tensor named ``vectors``, and how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from .._errors import RequestError
from .._files import replace_file

TENSOR = "vectors"


def save(path: Path, vectors: Tensor, facts: Mapping[str, Any], *, overwrite: bool = False) -> None:
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


def load(path: Path) -> Tensor:
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

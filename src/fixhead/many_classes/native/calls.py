"""The library's functions on tensors: float32 points on the CPU, packed sign diagonals."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from .library import Chosen, chosen

_ORDERS = range(16, (1 << 26) + 1)
_arranged: Any = WeakIdKeyDictionary()


def library_for(points: Tensor, packed: Tensor | None) -> Chosen | None:
    """The compiled path, where it takes these; otherwise None."""
    if packed is None or points.device.type != "cpu" or points.dtype != torch.float32:
        return None
    if packed.device.type != "cpu" or packed.shape[0] not in _ORDERS:
        return None
    path = chosen()
    return None if path.library is None else path


def rest(
    path: Chosen,
    packed: Tensor,
    classes: int,
    points: Tensor,
    labels: Tensor,
    bias: Tensor | None,
    *,
    norm: float,
    gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """As ``passes.rest``."""
    points, labels = _plain(points), _plain(labels)
    value = torch.empty(len(points), dtype=torch.float64)
    pull = torch.empty_like(points) if gradient else None
    given = None if bias is None else _plain(bias)
    front = _front(path, packed, classes, points)
    _done(_library(path).fixhead_rest(*front, _at(labels), _at(given), norm, _at(value), _at(pull)))
    return value, pull


def slope(
    path: Chosen,
    packed: Tensor,
    classes: int,
    points: Tensor,
    labels: Tensor,
    bias: Tensor | None,
    rest: Tensor,
    upstream: Tensor,
    *,
    norm: float,
) -> Tensor:
    """Σ_i g_i softmax_ik (K,), as ``passes.class_gradients``, from the R of ``rest``."""
    points, labels, rest, upstream = (_plain(t) for t in (points, labels, rest, upstream))
    given = None if bias is None else _plain(bias)
    out = points.new_empty(classes)
    front = _front(path, packed, classes, points)
    _done(
        _library(path).fixhead_slope(
            *front, _at(labels), _at(given), norm, _at(rest), _at(upstream), _at(out)
        )
    )
    return out


def top(
    path: Chosen, packed: Tensor, classes: int, points: Tensor, bias: Tensor | None, k: int
) -> tuple[Tensor, Tensor]:
    """The k largest logits (N, k) and their classes, largest first; k ≤ ``most``."""
    points = _plain(points)
    values = points.new_empty(len(points), k)
    names = torch.empty(len(points), k, dtype=torch.int64)
    given = None if bias is None else _plain(bias)
    front = _front(path, packed, classes, points)
    _done(_library(path).fixhead_top(*front, _at(given), k, _at(values), _at(names)))
    return values, names


def most(path: Chosen) -> int:
    """The largest k that ``top`` takes."""
    return int(_library(path).fixhead_most())


def rows(path: Chosen, packed: Tensor, labels: Tensor) -> Tensor:
    """As ``KroneckerTiles.rows``; a label below 0 counts as 0."""
    labels, packed = _plain(labels), packed.contiguous()
    out = torch.empty(len(labels), packed.shape[0])
    _library(path).fixhead_rows(
        _at(packed), packed.shape[1], packed.shape[0], _at(labels), len(labels), _at(out)
    )
    return out


def _front(path: Chosen, packed: Tensor, classes: int, points: Tensor) -> tuple[Any, ...]:
    signs = _arrange(path, packed, classes)
    threads = torch.get_num_threads()
    return path.form, threads, _at(points), len(points), points.shape[1], _at(signs), classes


def _arrange(path: Chosen, packed: Tensor, classes: int) -> Tensor:
    """The signs in the library's order; kept as long as ``packed`` lives unchanged."""
    version = 0 if packed.is_inference() else packed._version
    kept = _arranged.get(packed)
    if kept is not None and kept[0] == (version, classes):
        found: Tensor = kept[1]
        return found
    library, order = _library(path), packed.shape[0]
    blocks = -(-classes // order)
    signs = torch.empty(library.fixhead_words(order, blocks), dtype=torch.int32)
    bits = packed.contiguous()
    library.fixhead_arrange(_at(bits), bits.shape[1], order, blocks, _at(signs))
    _arranged[packed] = (version, classes), signs
    return signs


def _library(path: Chosen) -> ctypes.CDLL:
    assert path.library is not None
    return path.library


def _plain(values: Tensor) -> Tensor:
    """Contiguous, and beginning at a multiple of its elements' size."""
    values = values.detach().contiguous()
    return values if values.data_ptr() % values.element_size() == 0 else values.clone()


def _at(values: Tensor | None) -> int | None:
    return None if values is None else values.data_ptr()


def _done(status: int) -> None:
    if status == 1:
        raise MemoryError("the compiled path could not get memory for one tile of a thread")
    if status:
        raise RuntimeError(f"the compiled path refused its input with status {status}")

"""A head's class vectors as ``fixhead.many_classes`` takes them, and when that is worth it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import logits as formulae
from .. import many_classes as large

if TYPE_CHECKING:
    from .head import ClassificationHead

LEARNED_SHARE = 64
"""Learned vectors need a second walk over the classes: so many more logits are held for them."""


class Longest:
    """The greatest length of fixed rows, measured once and after every change."""

    def __init__(self) -> None:
        self._known: tuple[object, float] | None = None

    def __call__(self, rows: Tensor) -> float:
        key = (rows.data_ptr(), rows.dtype, rows.shape, rows._version)
        if self._known is None or self._known[0] != key:
            self._known = (key, large.longest(rows))
        return self._known[1]


def held(head: ClassificationHead, longest: Longest) -> large.ClassVectors:
    """The class vectors, with their greatest length where it is known."""
    if head.implicit is not None:
        return head.implicit.vectors
    rows = head.vectors
    if head.logits == "cosine":
        return large.Stored(formulae.unit(rows) if head.learn_vectors else rows, norm=1.0)
    return large.Stored(rows) if head.learn_vectors else large.Stored(rows, norm=longest(rows))


def is_large(head: ClassificationHead, rows: Tensor, *, training: bool = False) -> bool:
    """Whether the logits of so many rows are better not held."""
    if head.implicit is not None:
        return True
    share = LEARNED_SHARE if training and head.learn_vectors else 1
    usual = head.vectors.dtype in (torch.float32, torch.float64)
    return usual and large.worth_it(len(rows), head.classes // share, rows.device)

"""Code vectors that are made when asked for, and stored as ±1 bits at most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .forms import Family
from .walsh import walsh_rows


@dataclass(frozen=True)
class CodeVectors:
    """K vectors of a family, class k = (block k // n, row k % n), n = 2^m.

    w_k(x) = s(x) (−1)^(q_block(x) + ⟨row, x⟩) / √d for x in ``columns`` (all n where None; then
    d = n), with common column signs s, which change no cosine. Behind the last block of a family
    with an identity block come the n one-hot vectors.
    """

    family: Family
    classes: int
    signs: Tensor
    columns: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.classes, self.signs.numel()

    def rows(self, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Rows (n, d) for labels (n,)."""
        order = self.family.features
        block = torch.div(labels, order, rounding_mode="floor")
        row = labels % order
        which, place = torch.unique(block, return_inverse=True)
        onehot = which == (self.family.blocks if self.family.identity else -1)
        bits = self.family.bits(torch.where(onehot, 0, which))
        bits = bits if self.columns is None else bits[:, self.columns]
        diagonals = (1.0 - 2.0 * bits.float()) * self.signs
        columns = torch.arange(order) if self.columns is None else self.columns
        out = walsh_rows(row, columns, self.family.m)
        out = out.mul_(diagonals[place]).to(dtype) * (1 / math.sqrt(self.signs.numel()))
        if bool(onehot.any()):
            chosen = onehot[place]
            out[chosen] = torch.nn.functional.one_hot(row[chosen], order).to(dtype)
        return out


@dataclass(frozen=True)
class SignRows:
    """Independent signs, stored: ±1/√d from bits (K, d)."""

    bits: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.bits.shape[0], self.bits.shape[1]

    def rows(self, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return (1.0 - 2.0 * self.bits[labels].to(dtype)) * (1 / math.sqrt(self.bits.shape[1]))


@dataclass(frozen=True)
class Concatenated:
    """Rows of several codes side by side, each weighted by the root of its share of d.

    cos = Σ_p (d_p/d) cos_p, hence at most the same sum of coherences. Class k is vector
    ``orders[p][k]`` of part p, drawn so that near pairs of two parts fall together by chance only.
    """

    parts: Sequence[CodeVectors | SignRows]
    orders: Sequence[Tensor]

    @property
    def shape(self) -> tuple[int, int]:
        return self.parts[0].shape[0], sum(part.shape[1] for part in self.parts)

    def rows(self, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        features = self.shape[1]
        pieces = [
            part.rows(order[labels], dtype) * math.sqrt(part.shape[1] / features)
            for part, order in zip(self.parts, self.orders, strict=True)
        ]
        return torch.cat(pieces, dim=1)

"""Classes divided among processes: each holds the vectors of its own classes, and no other.

Process r holds the classes [start_r, stop_r), in the order of the processes. With R_r the
log-sum-exp over its own classes (without the target), and z_y the target's logit, which one process
has, exact softmax needs of the others, for N rows,

    m = max_r R_r,    R = m + log Σ_r e^{R_r − m},    z_y = Σ_r [start_r ≤ y < stop_r] z_y

a maximum (N) and a sum (2N) over the processes, in float64; and in the backward pass the sum of the
gradients of the features (N, d). Vectors, their gradients and optimiser states never travel; codes
have none of the three, and a checkpoint is the code's own, for any number of processes.

    group = torch.distributed.group.WORLD
    mine = slice(*class_range(classes, rank, world))
    loss = linear_cross_entropy(features, W[mine], labels, bias=b[mine], group=group)

Every process has the same features and labels, and gets the same loss. Where each has its own rows,
``gather_rows`` brings them together.

Source: Deng et al. 2019 (ArcFace), section 3.3 of the extended version; Shoeybi et al. 2019
(Megatron-LM), section 3, for the two conjugate operations.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

from .._errors import RequestError
from ..logits import unit
from .codes import Codes
from .kronecker import PACK
from .ops import LogitsRequest
from .vectors import ClassVectors, DenseVectors, with_bias

Group = Any
"""A torch.distributed.ProcessGroup."""


def class_range(classes: int, rank: int, world: int, multiple: int = 1) -> tuple[int, int]:
    """The classes [start, stop) of process ``rank`` of ``world``: the same number for each, as far
    as K allows in multiples of ``multiple``; some have none where K is small.

    Raises:
        RequestError: numbers that are none of these.
    """
    if world < 1 or not 0 <= rank < world or classes < 1 or multiple < 1:
        raise RequestError(
            f"class_range needs 0 <= rank < world, K and multiple of 1 or more, got rank={rank}, "
            f"world={world}, K={classes}, multiple={multiple}"
        )
    pieces = -(-classes // multiple)
    start, stop = (min(pieces * r // world * multiple, classes) for r in (rank, rank + 1))
    return start, stop


def part_of_code(code: Codes, rank: int, world: int) -> ClassVectors:
    """The vectors of process ``rank`` of ``world``, in whole bytes of the code's bits (8n classes,
    n = ``code.order``); one-hot vectors past the last block are the last process's.
    """
    step = PACK * code.order
    start, stop = class_range(code.classes, rank, world, step)
    if start >= code.coded or stop - start < 2:
        return _as_part(code.rows(torch.arange(start, stop, device=code.device)), True)
    part = object.__new__(Codes)
    part.__dict__.update(code.__dict__)
    part._elsewhere = {}
    part.shape = stop - start, code.features
    part.coded = min(stop, code.coded) - start
    part.fused = part.coded == part.classes
    bits = code.bits[:, start // step : -(-(start + part.coded) // step)].contiguous()
    part._request = code.request._replace(classes=part.coded, packed=bits)
    return part


class ShardedVectors(ClassVectors):
    """The vectors of this process's classes, as part of those of all processes in ``group``.

    Made by all of them together. ``classes`` and labels are those of all processes; biases,
    weights and class counts (``held``,) are this process's.

    Raises:
        RequestError: no process group; fewer than two classes in all, or different d.
    """

    fused = False

    def __init__(
        self, vectors: Tensor | ClassVectors, group: Group, *, unit_rows: bool = False
    ) -> None:
        if not (distributed.is_available() and distributed.is_initialized()):
            raise RequestError(
                "group needs processes that know each other; call "
                "torch.distributed.init_process_group() first"
            )
        self.local = _as_part(vectors, unit_rows)
        self.group = group
        rank, world = distributed.get_rank(group), distributed.get_world_size(group)
        sizes = torch.zeros(world, 2, dtype=torch.int64)
        sizes[rank] = torch.tensor(self.local.shape)
        sizes = _sum(sizes.to(self.local.device), group).cpu()
        held, widths = sizes[:, 0], sizes[:, 1]
        if held.sum() < 2 or bool((widths != widths[0]).any()):
            raise RequestError(
                "group needs class vectors of one d and two classes or more in all, got (K, d) = "
                f"{', '.join(str(tuple(size)) for size in sizes.tolist())}"
            )
        self.start = int(held[:rank].sum())
        self.shape = int(held.sum()), int(widths[0])
        self._describe()

    def _describe(self) -> None:
        self.construction = self.local.construction
        self.unit_rows, self.stored = self.local.unit_rows, self.local.stored
        self.tensor = self.local.tensor

    def _with(self, local: ClassVectors) -> ShardedVectors:
        if local is self.local:
            return self
        other = object.__new__(ShardedVectors)
        other.__dict__.update(self.__dict__)
        other.local = local
        other._describe()
        return other

    @property
    def held(self) -> int:
        return self.local.classes

    @property
    def norm(self) -> float | None:
        return self.local.norm

    @property
    def device(self) -> torch.device:
        return self.local.device

    @property
    def request(self) -> LogitsRequest:
        return self.local.request

    def to(self, device: torch.device | str) -> ShardedVectors:
        return self._with(self.local.to(device))

    def unit(self) -> ShardedVectors:
        return self._with(self.local.unit())

    def _own(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Labels among this process's classes, 0 for others; and which are."""
        own = (labels >= self.start) & (labels < self.start + self.held)
        return torch.where(own, labels - self.start, 0), own

    def rows(self, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        if not self.held:
            mine = torch.zeros(len(labels), self.features, dtype=dtype, device=labels.device)
        else:
            places, own = self._own(labels)
            mine = torch.where(own.unsqueeze(1), self.local.rows(places, dtype), 0)
        return _add(mine, self.group)

    def of(self, values: Tensor, labels: Tensor) -> Tensor:
        if not self.held:
            return _add(values.new_zeros(len(labels)), self.group)
        places, own = self._own(labels)
        return _add(torch.where(own, values[places], 0), self.group)

    def total(self, values: Tensor) -> Tensor:
        return _add(values.sum(), self.group)

    def negatives_lse(
        self,
        projected: Tensor,
        labels: Tensor,
        bias: Tensor | None,
        *,
        bf16_matmul: bool = False,
        max_logit: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        places, own = self._own(labels)
        lse, target = self.local.negatives_lse(
            _Everywhere.apply(projected, self.group),  # type: ignore[no-untyped-call]
            torch.where(own, places, -1),
            bias,
            bf16_matmul=bf16_matmul,
            max_logit=max_logit,
        )
        return _Joined.apply(lse, target, self.group)  # type: ignore[no-any-return, no-untyped-call]

    def weighted_sum(self, weights: Tensor | None = None) -> Tensor:
        return _add(self.local.weighted_sum(weights), self.group)

    def topk(
        self, projected: Tensor, bias: Tensor | None, k: int, *, bf16_matmul: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Those of all processes, from the k largest of each."""
        values = projected.new_full((len(projected), k), -torch.inf)
        classes = torch.full_like(values, -1, dtype=torch.int64)
        if few := min(k, self.held):
            found, places = self.local.topk(projected, bias, few, bf16_matmul=bf16_matmul)
            values[:, :few] = found.to(values.dtype)
            classes[:, :few] = places + self.start
        everyone = torch.cat(_gather(values, self.group), dim=1)
        numbers = torch.cat(_gather(classes, self.group), dim=1)
        best, order = everyone.topk(k, dim=1)
        return best, numbers.gather(1, order)

    def matmul(self, projected: Tensor) -> Tensor:
        """Refused.

        Raises:
            RequestError: always.
        """
        raise RequestError(
            "no process holds the logits of all classes; linear_cross_entropy(), log_sum_exp() and "
            "topk() do without them"
        )

    def digest(self) -> str:
        """SHA-256 of the digests of all parts, in the order of the processes."""
        parts: list[str] = [""] * distributed.get_world_size(self.group)
        distributed.all_gather_object(parts, self.local.digest(), group=self.group)
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def gather_rows(
    features: Tensor, labels: Tensor, group: Group, *, averaged: bool = False
) -> tuple[Tensor, Tensor]:
    """Features (N, d) and labels (N,) of all processes, in their order; N may differ.

    The gradient of the features is the sum of those that the processes have of these rows.

    averaged: gradients will be averaged over the processes, as DDP does with a backbone's; those of
        the features are multiplied by their number, so that the average is the sum.
    """
    world, rank = distributed.get_world_size(group), distributed.get_rank(group)
    sizes = torch.zeros(world, dtype=torch.int64, device=features.device)
    sizes[rank] = len(features)
    counts = _sum(sizes, group).tolist()
    start = sum(counts[:rank])
    whole = labels.new_zeros(sum(counts))
    whole[start : start + len(labels)] = labels
    factor = world if averaged else 1
    gathered = _Gathered.apply(features, start, sum(counts), factor, group)  # type: ignore[no-untyped-call]
    return gathered, _sum(whole, group)


class _Everywhere(torch.autograd.Function):
    """x itself; its gradient is the sum of what every process has of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        return _sum(upstream, ctx.group), None


class _Added(torch.autograd.Function):
    """Σ_r x_r; every process has the loss whole, so the gradient of x_r is that of the sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        return _sum(x, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        return upstream, None


class _Joined(torch.autograd.Function):
    """log Σ_r e^{R_r} and Σ_r z_r, from one maximum and one sum over the processes."""

    @staticmethod
    def forward(ctx: Any, lse: Tensor, target: Tensor, group: Group) -> tuple[Tensor, Tensor]:
        own = lse.double()
        largest = own.clone()
        distributed.all_reduce(largest, distributed.ReduceOp.MAX, group=group)
        sums = _sum(torch.stack([(own - largest).exp(), target.double()]), group)
        whole = largest + sums[0].log()
        ctx.save_for_backward((own - whole).exp().to(lse.dtype))
        return whole.to(lse.dtype), sums[1].to(target.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_lse: Tensor, of_target: Tensor) -> tuple[Tensor, Tensor, None]:
        (share,) = ctx.saved_tensors
        return of_lse * share, of_target, None


class _Gathered(torch.autograd.Function):
    """Rows of all processes, in their order; the gradient of the own ones."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, start: int, rows: int, factor: int, group: Group) -> Tensor:
        ctx.facts = start, len(x), factor, group
        whole = x.new_zeros(rows, *x.shape[1:])
        whole[start : start + len(x)] = x
        return _sum(whole, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        start, rows, factor, _ = ctx.facts
        # Every process has the gradient of all rows whole already.
        return factor * upstream[start : start + rows], None, None, None, None


class _Few(ClassVectors):
    """No class, or one: what a process may be left with."""

    fused = False
    tensor: Tensor

    def __init__(self, vectors: Tensor, unit_rows: bool) -> None:
        self.tensor, self.stored = vectors, True
        self.shape = vectors.shape[0], vectors.shape[1]
        self.unit_rows, self.construction = unit_rows, "tensor"

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    @property
    def request(self) -> LogitsRequest:
        return LogitsRequest(self.classes)

    def to(self, device: torch.device | str) -> _Few:
        return _Few(self.tensor.to(device), self.unit_rows)

    def unit(self) -> _Few:
        return self if self.unit_rows else _Few(unit(self.tensor), True)

    def rows(self, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.tensor[labels].to(dtype)

    def digest(self) -> str:
        return hashlib.sha256(repr(self.tensor.tolist()).encode()).hexdigest()

    def negatives_lse(
        self, projected: Tensor, labels: Tensor, bias: Tensor | None, **_: Any
    ) -> tuple[Tensor, Tensor]:
        nothing = projected.new_full((len(projected),), -torch.inf, dtype=torch.float64)
        if not self.classes:  # a gradient of zero still has to reach everything
            zero = 0.0 * projected.sum(dim=1) + self.tensor.sum()
            zero = zero if bias is None else zero + bias.sum()
            return nothing + zero, zero
        logit = projected @ self.tensor[0].to(projected.dtype)
        target = with_bias(logit, labels, bias)
        everywhere = with_bias(logit, torch.zeros_like(labels), bias)
        return torch.where(labels == 0, nothing, everywhere.double()), target

    def topk(
        self, projected: Tensor, bias: Tensor | None, k: int, *, bf16_matmul: bool = False
    ) -> tuple[Tensor, Tensor]:
        none = torch.zeros(len(projected), dtype=torch.int64, device=projected.device)
        logit = with_bias(projected @ self.tensor[0].to(projected.dtype), none, bias)
        return logit.unsqueeze(1), none.unsqueeze(1)

    def weighted_sum(self, weights: Tensor | None = None) -> Tensor:
        wide = self.tensor.float() if self.tensor.dtype != torch.float64 else self.tensor
        return wide.sum(dim=0) if weights is None else weights @ wide.to(weights.dtype)


def _as_part(vectors: Tensor | ClassVectors, unit_rows: bool) -> ClassVectors:
    if isinstance(vectors, ClassVectors):
        return vectors
    if isinstance(vectors, Tensor) and vectors.ndim == 2 and len(vectors) < 2:
        return _Few(vectors, unit_rows)
    return DenseVectors(vectors, unit_rows=unit_rows)


def _add(x: Tensor, group: Group) -> Tensor:
    total: Tensor = _Added.apply(x, group)  # type: ignore[no-untyped-call]
    return total


def _sum(x: Tensor, group: Group) -> Tensor:
    total = x.detach().clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total, group=group)
    return total


def _gather(x: Tensor, group: Group) -> list[Tensor]:
    parts = [torch.empty_like(x) for _ in range(distributed.get_world_size(group))]
    distributed.all_gather(parts, x.contiguous(), group=group)
    return parts

"""Counts, means and within-class scatter of features: one pass, mergeable, numerically stable.

``update_`` adds a batch, ``merge`` joins what two processes saw, ``regroup`` joins classes, and
``present_classes`` is what the measures of collapse start from. What measures ask of their
arguments, and the precision they compute in, stands here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from .._errors import RequestError

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_sizes(caller: str, **sizes: int) -> None:
    """Every size is a whole number of at least 1."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise RequestError(f"{caller}() needs {name} >= 1, got {size!r}")


def check_features(caller: str, features: Tensor, size: int | None = None) -> None:
    """Floating features (N, d), with d = ``size`` where that is given."""
    shape = tuple(features.shape)
    if len(shape) != 2 or not features.is_floating_point():
        raise RequestError(
            f"{caller}() needs floating features (N, d), got {features.dtype} {shape}; "
            "flatten each image's feature to one row first"
        )
    if size is not None and shape[1] != size:
        raise RequestError(f"{caller}() needs features (N, {size}), got {shape}")


def check_indices(caller: str, labels: Tensor, rows: int, classes: int) -> None:
    """Integer labels (N,) in 0 … K − 1.

    The values are looked at on the CPU only. Elsewhere that would make every batch wait for the
    device; there the kernels' own bounds check stops a label that is out of range.
    """
    if labels.dtype not in _INTEGERS or tuple(labels.shape) != (rows,):
        raise RequestError(
            f"{caller}() needs integer labels ({rows},), one for each row, "
            f"got {labels.dtype} {tuple(labels.shape)}"
        )
    if labels.device.type == "cpu" and rows:
        low, high = (int(value) for value in torch.aminmax(labels))
        if low < 0 or high >= classes:
            wrong = low if low < 0 else high
            raise RequestError(
                f"{caller}() needs labels in 0 … {classes - 1} for classes={classes}, got {wrong}"
            )


def check_vectors(caller: str, vectors: Tensor, classes: int, size: int) -> None:
    """Floating class vectors (K, d)."""
    if tuple(vectors.shape) != (classes, size) or not vectors.is_floating_point():
        raise RequestError(
            f"{caller}() needs floating vectors (K, d) = ({classes}, {size}), "
            f"got {vectors.dtype} {tuple(vectors.shape)}"
        )


def check_choice(caller: str, name: str, value: str, choices: tuple[str, ...]) -> None:
    """``value`` is one of the words that ``name`` may be."""
    if value not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise RequestError(f"{caller}() needs {name} to be one of {known}, got {value!r}")


def widest(device: torch.device) -> torch.dtype:
    """Float64, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def wide(values: Tensor) -> Tensor:
    """``values`` without gradient in float64, on the CPU where their device has no float64."""
    values = values.detach()
    return (values.cpu() if values.device.type == "mps" else values).double()


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Products inside keep the type of their factors, whatever autocast is on outside."""
    if torch.amp.is_autocast_available(device.type):
        with torch.autocast(device.type, enabled=False):
            yield
    else:
        yield


_ROWS = 4_096
"""Rows that are worked on at once: what a pass needs beside the statistics stays bounded."""


@dataclass(frozen=True)
class ClassStatistics:
    """What the features of K classes sum up to, in one tensor that can be sent and merged.

    Views of ``packed`` (float64; float32 where a device has no float64):

        counts    n_c                                      (K,), whole numbers
        means     μ_c = (1/n_c) Σ x                        (K, d), 0 where n_c = 0
        scatters  s_c = Σ ‖x − μ_c‖²                       (K,)
        scatter   S = Σ_c Σ (x − μ_c)(x − μ_c)ᵀ            (d, d), None unless ``pooled``

    In float32 a second half carries along what rounding took from each of them (Kahan 1965).
    Of 1,000 classes and 512 features it holds 6.2 MB.
    """

    packed: Tensor
    classes: int
    features: int
    pooled: bool

    @classmethod
    def empty(
        cls,
        classes: int,
        features: int,
        *,
        pooled: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> ClassStatistics:
        """No features yet. ``pooled=False`` leaves out S, which costs N·d² products.

        Raises:
            RequestError: a size below 1, or a dtype other than float64 and float32.
        """
        check_sizes("ClassStatistics.empty", classes=classes, features=features)
        place = torch.get_default_device() if device is None else torch.device(device)
        dtype = widest(place) if dtype is None else dtype
        if dtype not in (torch.float64, torch.float32):
            raise RequestError(
                f"ClassStatistics.empty() needs dtype float64 or float32, got {dtype}; "
                "features of any floating type are summed in it"
            )
        length = classes * (2 + features) + (features**2 if pooled else 0)
        halves = 2 if dtype == torch.float32 else 1
        packed = torch.zeros(halves * length, dtype=dtype, device=place)
        return cls(packed, classes, features, pooled)

    @property
    def values(self) -> Tensor:
        """Counts, means, scatters and S, one after the other."""
        return self.packed[: self._length]

    @property
    def rests(self) -> Tensor | None:
        """What rounding took from ``values``, in their order; None in float64."""
        return self.packed[self._length :] if self.packed.dtype == torch.float32 else None

    @property
    def counts(self) -> Tensor:
        return self.packed[: self.classes]

    @property
    def means(self) -> Tensor:
        stop = self.classes * (1 + self.features)
        return self.packed[self.classes : stop].view(self.classes, self.features)

    @property
    def scatters(self) -> Tensor:
        start = self.classes * (1 + self.features)
        return self.packed[start : start + self.classes]

    @property
    def scattered(self) -> Tensor:
        """The scatters and S, one after the other."""
        return self.values[self.classes * (1 + self.features) :]

    @property
    def scatter(self) -> Tensor | None:
        if not self.pooled:
            return None
        return self.values[-(self.features**2) :].view(self.features, self.features)

    def wide(self) -> ClassStatistics:
        """The same in float64, on the CPU where the device has no float64."""
        return self if self.rests is None else self.like(wide(self.values) + wide(self.rests))

    def like(self, packed: Tensor) -> ClassStatistics:
        """Another packed tensor read in the same way."""
        return ClassStatistics(packed, self.classes, self.features, self.pooled)

    @property
    def _length(self) -> int:
        return self.classes * (2 + self.features) + (self.features**2 if self.pooled else 0)


def class_statistics(
    features: Tensor, labels: Tensor, classes: int, *, pooled: bool = True
) -> ClassStatistics:
    """Statistics of features (N, d) with labels (N,) in ``classes`` classes."""
    check_features("class_statistics", features)
    stats = ClassStatistics.empty(classes, features.shape[1], pooled=pooled, device=features.device)
    return update_(stats, features, labels)


@torch.no_grad()
def update_(stats: ClassStatistics, features: Tensor, labels: Tensor) -> ClassStatistics:
    """Add features (N, d) with labels (N,) in place, without waiting for the device.

    With n, μ before the batch, n', μ' of a class inside it and δ = μ' − μ, for each class
    (Chan, Golub & LeVeque 1979, eq. 1.5b, in d dimensions)

        μ ← μ + δ n'/(n + n'),    S ← S + S' + δ δᵀ n n'/(n + n').

    The sum over classes of the last term runs over images instead, with the weight n/(n + n'):
    every shape is then known beforehand, and S takes one product of (2N, d) by itself.

    Raises:
        RequestError: shapes or types do not fit, or (on the CPU) a label is out of range.
    """
    check_features("update_", features, stats.features)
    check_indices("update_", labels, features.shape[0], stats.classes)
    with full_precision(features.device):
        parts = zip(torch.split(features, _ROWS), torch.split(labels, _ROWS), strict=True)
        for rows, own in parts:
            _absorb(stats, rows.to(stats.packed.dtype), own.long().contiguous())
    return stats


def _absorb(stats: ClassStatistics, x: Tensor, labels: Tensor) -> None:
    ones = x.new_ones(x.shape[0])
    # One place in 0 … N − 1 for each class of the batch: where it first stands among them sorted.
    place = torch.searchsorted(labels.sort().values, labels)
    fresh = torch.zeros_like(ones).index_add_(0, place, ones)[place]
    centres = torch.zeros_like(x).index_add_(0, place, x)[place] / fresh.unsqueeze(1)
    before = stats.counts[labels]
    total = before + fresh
    shift = centres - stats.means[labels]
    if stats.rests is not None:
        shift -= stats.like(stats.rests).means[labels]
    parts = torch.cat([x - centres, shift * (before / total).sqrt().unsqueeze(1)])
    with sums_of(stats) as sums:
        sums.counts.index_add_(0, labels, ones)
        sums.means.index_add_(0, labels, shift / total.unsqueeze(1))
        add_scatter(sums, parts, torch.cat([labels, labels]))


def add_scatter(sums: ClassStatistics, parts: Tensor, labels: Tensor) -> None:
    """s_c += Σ ‖p‖² and S += Σ p pᵀ over rows p (N, d) of ``parts`` with labels (N,)."""
    sums.scatters.index_add_(0, labels, parts.square().sum(dim=1))
    if sums.scatter is not None:
        sums.scatter.addmm_(parts.T, parts)


@contextmanager
def sums_of(stats: ClassStatistics) -> Iterator[ClassStatistics]:
    """Where to add in place: ``stats`` itself in float64; in float32 zeros, then added exactly."""
    if stats.rests is None:
        yield stats
        return
    term = stats.like(torch.zeros_like(stats.values))
    yield term
    _add_exactly_(stats.values, stats.rests, term.values)


def _add_exactly_(total: Tensor, rest: Tensor, term: Tensor) -> None:
    """total + rest += term, where rest keeps what total has no digits for (Kahan 1965)."""
    term = term + rest
    rounded = total + term
    # Knuth's form: right whichever of the two is the larger.
    back = rounded - total
    rest.copy_((total - (rounded - back)) + (term - back))
    total.copy_(rounded)


@torch.no_grad()
def merge(first: ClassStatistics, second: ClassStatistics) -> ClassStatistics:
    """The statistics of both sets of features together, by the formulae of ``update_``.

    Raises:
        RequestError: the two are of different classes, features or types.
    """
    if _form(first) != _form(second):
        raise RequestError(
            f"merge() needs statistics of one form (classes, features, pooled, dtype), "
            f"got {_form(first)} and {_form(second)}"
        )
    merged = first.like(first.packed.clone())
    n, m = first.counts, second.counts
    total = (n + m).clamp(min=1)
    shift = second.means - first.means
    if first.rests is not None and second.rests is not None:
        shift += second.like(second.rests).means - first.like(first.rests).means
    labels = torch.arange(first.classes, device=shift.device)
    with full_precision(shift.device), sums_of(merged) as sums:
        sums.counts.add_(m)
        sums.means.add_(shift * (m / total).unsqueeze(1))
        sums.scattered.add_(second.scattered)
        add_scatter(sums, shift * (n * m / total).sqrt().unsqueeze(1), labels)
    if merged.rests is not None and second.rests is not None:
        second_rest = second.like(second.rests)
        merged.like(merged.rests).scattered.add_(second_rest.scattered)
    return merged


@torch.no_grad()
def regroup(stats: ClassStatistics, groups: Tensor, number: int) -> ClassStatistics:
    """The statistics of unions of classes, in float64: class c becomes part of ``groups[c]``.

    n_g = Σ n_c,  μ_g = Σ n_c μ_c / n_g,  S_g = Σ S_c + Σ n_c (μ_c − μ_g)(μ_c − μ_g)ᵀ.
    Groups (K,) in 0 … number − 1. With one group S/N is the covariance of all features.
    """
    check_indices("regroup", groups, stats.classes, number)
    stats, groups = stats.wide(), groups.long()
    groups = groups.to(stats.packed.device)
    union = ClassStatistics.empty(
        number, stats.features, pooled=stats.pooled, device=stats.packed.device
    )
    union.counts.index_add_(0, groups, stats.counts)
    union.means.index_add_(0, groups, stats.means * stats.counts.unsqueeze(1))
    union.means.div_(union.counts.clamp(min=1).unsqueeze(1))
    union.scatters.index_add_(0, groups, stats.scatters)
    if union.scatter is not None and stats.scatter is not None:
        union.scatter.add_(stats.scatter)
    apart = (stats.means - union.means[groups]) * stats.counts.sqrt().unsqueeze(1)
    add_scatter(union, apart, groups)
    return union


def _form(stats: ClassStatistics) -> tuple[int, int, bool, torch.dtype]:
    return stats.classes, stats.features, stats.pooled, stats.packed.dtype


Weights = Literal["classes", "images"]
"""Whether every class or every image counts the same in μ_G and Σ_B."""


@dataclass(frozen=True)
class PresentClasses:
    """The C classes that have at least one feature, in float64.

    labels (C,), counts n_c (C,), means μ_c (C, d), scatters s_c (C,), S (d, d) or None.
    """

    labels: Tensor
    counts: Tensor
    means: Tensor
    scatters: Tensor
    scatter: Tensor | None
    classes: int

    @property
    def variances(self) -> Tensor:
        """tr Σ_c = s_c / n_c per class (C,)."""
        return self.scatters / self.counts

    def shares(self, weights: Weights) -> Tensor:
        """What each class weighs (C,), together 1."""
        check_choice("shares", "weights", weights, get_args(Weights))
        share = torch.ones_like(self.counts) if weights == "classes" else self.counts
        return share / share.sum()

    def centred(self, weights: Weights = "classes") -> Tensor:
        """μ_c − μ_G (C, d), with μ_G = Σ_c share_c μ_c."""
        return self.means - self.shares(weights) @ self.means

    def spread(self, values: Tensor) -> Tensor:
        """Values (C,) → (K,) with NaN for the classes without a feature."""
        full = values.new_full((self.classes,), torch.nan)
        full[self.labels] = values
        return full

    def undefined(self) -> Tensor:
        """NaN, for what needs more classes than there are."""
        return self.means.new_full((), torch.nan)


def present_classes(stats: ClassStatistics) -> PresentClasses:
    """The part of ``stats`` that belongs to classes with features."""
    stats = stats.wide()
    labels = stats.counts.nonzero().squeeze(1)
    return PresentClasses(
        labels,
        stats.counts[labels],
        stats.means[labels],
        stats.scatters[labels],
        stats.scatter,
        stats.classes,
    )

"""Many vectors with small cosines, from binary codes.

The vectors of a code are made when they are asked for, and stored as ±1 bits at most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import default_generator_or
from ._request import check_dtype, check_size, stored
from .bounds import coherence_bound
from .code_families import LARGEST, Family, algebraic, random_signs
from .rows import RowSource, cosine_extremes, sample_labels
from .sylvester import next_power_of_two, random_columns, walsh_rows


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


MAX_COSINE = 0.5
"""The worst |cosine| that ``codes`` hands out unless told otherwise."""

_ALL_PAIRS = 10_000
_SAMPLE = 4_096
_FIRST_LOOK = 1_024
_FAMILIES = ("auto", "gold", "kerdock", "delsarte-goethals", "random")


@dataclass(frozen=True)
class Code:
    """A code that was chosen: its vectors (implicit), and the largest |cosine| of two of them.

    proved: whether ``coherence`` is a theorem's; otherwise it was measured, on all pairs up to
    10,000 classes and on those of 4,096 seeded classes with all others above.
    """

    name: str
    vectors: CodeVectors | Concatenated
    coherence: float
    proved: bool


def codes(
    classes: int,
    features: int,
    *,
    family: str = "auto",
    max_cosine: float = MAX_COSINE,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """w_{b,r} = rows r of H D_b / √d, D_b = diag ±1 from a quadratic form over GF(2^m), d = 2^m.

    For d a power of two, by the number of classes and the parity of m (largest |cosine| proved):
        K ≤ d                 one block, orthonormal
        m odd:  K ≤ d²        Gold, √2/√d;              K ≤ d³    Delsarte–Goethals, √8/√d
        m even: K ≤ d²/2 + d  Kerdock, 1/√d;            K ≤ d³/4  Delsarte–Goethals, 2/√d
        above, or family="random"                       independent signs, measured
    For other d the better (measured) of: a seeded subset of the columns of the next power of two,
    and codes of the powers of two that add up to d, side by side.

    Column signs are drawn, so that no vector is (1, …, 1)/√d by rule.

    Sources: see ``fixhead.vectors.code_families``.

    Raises:
        RequestError: the largest |cosine| exceeds ``max_cosine`` (the figure is named), a named
            family does not exist at this d or holds fewer vectors, or arguments make no sense.
    """
    check_dtype("codes", dtype)
    code = find_code(classes, features, family=family, max_cosine=max_cosine, generator=generator)
    return stored("codes", dense(code.vectors, dtype), dtype)


def find_code(
    classes: int,
    features: int,
    *,
    family: str = "auto",
    max_cosine: float = MAX_COSINE,
    generator: torch.Generator | None = None,
) -> Code:
    """``codes`` without making the rows: for heads that never store them."""
    check_size("codes", classes, features)
    _check(family, max_cosine, features)
    least = coherence_bound(classes, features)
    if least > max_cosine:
        raise RequestError(
            f"codes() needs a largest |cosine| of at most max_cosine={max_cosine:g}, got classes="
            f"{classes} and features={features}, where none is below {least:.3f}; use "
            "spherical_code() or random(), more features, or another max_cosine"
        )
    generator = default_generator_or(generator)
    power = features == next_power_of_two(features)
    if family not in ("auto", "random"):
        candidates = [_named(family, classes, features, generator)]
    elif power:
        candidates = [_best_at_power(family, classes, features, generator)]
    else:
        candidates = [_subset(family, classes, features, generator)]
        if family == "auto":
            candidates.append(_side_by_side(classes, features, generator))
    best = candidates[0]
    if len(candidates) > 1:
        best = min(candidates, key=lambda code: _measured(code, _FIRST_LOOK).coherence)
    if not best.proved:
        best = _measured(best, _SAMPLE if classes > _ALL_PAIRS else classes)
    if best.coherence > max_cosine:
        raise RequestError(
            f"codes() needs a largest |cosine| of at most max_cosine={max_cosine:g}, got "
            f"{best.coherence:.3f} ({best.name}) for classes={classes}, features={features}; "
            "use spherical_code() or random(), more features, or another max_cosine"
        )
    return best


def dense(vectors: CodeVectors | Concatenated, dtype: torch.dtype) -> Tensor:
    """All rows, (K, d) in ``dtype``, made in float64; about 64 MiB of workspace."""
    classes, features = vectors.shape
    out = torch.empty(classes, features, dtype=dtype)
    height = max(1, (1 << 23) // features)
    for start in range(0, classes, height):
        labels = torch.arange(start, min(start + height, classes))
        out[start : start + height] = vectors.rows(labels, torch.float64)
    return out


def _check(family: str, max_cosine: float, features: int) -> None:
    if family not in _FAMILIES:
        raise RequestError(f"codes() needs family as one of {', '.join(_FAMILIES)}, got {family!r}")
    if isinstance(max_cosine, bool) or not 0 < max_cosine <= 1:
        raise RequestError(f"codes() needs 0 < max_cosine <= 1, got {max_cosine!r}")
    if features > 1 << LARGEST:
        raise RequestError(f"codes() needs features <= {1 << LARGEST}, got features={features}")


def _named(family: str, classes: int, features: int, generator: torch.Generator) -> Code:
    m = features.bit_length() - 1
    power = features == next_power_of_two(features)
    known = {f.name: f for f in algebraic(m)} if power else {}
    if family not in known:
        others = ", ".join(name for name in known if name != "hadamard") or "none"
        raise RequestError(
            f"codes() has no {family} family at features={features}, needed "
            f"{_NEEDS[family]}; at this size: {others}, random; or leave family out"
        )
    chosen = known[family]
    assert chosen.largest is not None
    if classes > chosen.largest:
        further = [f for f in known.values() if (f.largest or 0) >= classes]
        use = f"family={further[0].name!r}" if further else "family='random'"
        raise RequestError(
            f"codes() with family={family!r} needs classes <= {chosen.largest} at features="
            f"{features}, got classes={classes}; use {use}"
        )
    return _proved(chosen, classes, generator)


_NEEDS = {
    "gold": "2^m with m >= 3 odd",
    "kerdock": "2^m with m >= 2 even",
    "delsarte-goethals": "2^m with m >= 4",
}


def _best_at_power(family: str, classes: int, features: int, generator: torch.Generator) -> Code:
    m = features.bit_length() - 1
    chosen = None if family == "random" else _smallest(m, classes)
    if chosen is not None:
        return _proved(chosen, classes, generator)
    signs = random_signs(m, _seed(generator))
    return _unmeasured("random signs", CodeVectors(signs, classes, _signs(features, generator)))


def _proved(family: Family, classes: int, generator: torch.Generator) -> Code:
    vectors = CodeVectors(family, classes, _signs(family.features, generator))
    coherence = 0.0 if classes <= family.features else family.coherence
    assert coherence is not None
    return Code(family.name, vectors, coherence, proved=True)


def _measured(code: Code, most: int) -> Code:
    """The code with its coherence over the pairs of so many seeded classes with all."""
    source = RowSource(code.vectors, "codes")
    labels = None if most >= source.classes else sample_labels(source, most)
    return replace(code, coherence=cosine_extremes(source, labels).largest_absolute)


def _unmeasured(name: str, vectors: CodeVectors | Concatenated) -> Code:
    return Code(name, vectors, 1.0, proved=False)


def _smallest(m: int, classes: int, *, identity: bool = True) -> Family | None:
    """The least coherent algebraic family at d = 2^m that holds K vectors."""
    for family in algebraic(m):
        assert family.blocks is not None
        blocks = family.blocks + (family.identity and identity)
        if blocks * family.features >= classes:
            return family
    return None


def _subset(family: str, classes: int, features: int, generator: torch.Generator) -> Code:
    """Drawn columns of a code at the next power of two; its one-hot block is not used."""
    order = next_power_of_two(features)
    m = order.bit_length() - 1
    chosen = None if family == "random" else _smallest(m, classes, identity=False)
    if chosen is None:
        chosen = random_signs(m, _seed(generator))
    columns = random_columns(features, order, generator)
    vectors = CodeVectors(chosen, classes, _signs(features, generator), columns)
    return _unmeasured(f"{features} of {order} columns of {chosen.name}", vectors)


def _side_by_side(classes: int, features: int, generator: torch.Generator) -> Code:
    """The powers of two in d, from the largest, while their codes hold K; then random signs."""
    parts: list[CodeVectors | SignRows] = []
    left = features
    while left:
        m = left.bit_length() - 1
        family = _smallest(m, classes)
        if family is None:
            parts.append(SignRows(_coin(classes, left, generator)))
            break
        parts.append(CodeVectors(family, classes, _signs(1 << m, generator)))
        left -= 1 << m
    orders = [torch.randperm(classes, generator=generator) for _ in parts]
    sizes = " + ".join(str(part.shape[1]) for part in parts)
    return _unmeasured(f"codes side by side, {sizes}", Concatenated(parts, orders))


def _signs(features: int, generator: torch.Generator) -> Tensor:
    return 1.0 - 2.0 * _coin(1, features, generator)[0].float()


def _coin(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    return torch.randint(2, (rows, columns), generator=generator, dtype=torch.uint8)


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(1 << 62, (1,), generator=generator))

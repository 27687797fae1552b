"""Non-negative class vectors for more classes than features: block one-hot words of a code.

Class k is a polynomial f_k of degree below κ over the finite field GF(q): its coefficients are the
digits of k in base q. Its word is f_k(x_1) … f_k(x_n) at n points of the field, and its vector has
an entry 1/√n in each of n blocks of q features, at the place that the word's letter says:

    w_k[b q + f_k(x_b)] = 1/√n,   b = 0 … n − 1,   q a prime power, n ≤ q, q n ≤ d, K ≤ q^κ.

Two polynomials agree at κ − 1 points at most, so no cosine exceeds (κ − 1)/n, none is below 0, and
a feature without negative entries (after a ReLU) reaches every vector. An element of GF(p^m) is a
number below q whose digits in base p are the coefficients of a polynomial in the root of an
irreducible one.

Sources: Reed and Solomon 1960; Kautz and Singleton 1964 (words of one 1 in each of n blocks).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import default_generator_or
from ._request import check_dtype, check_size, stored
from .code_families import PRIMITIVE

MOST_IN_COMMON = 0.5
"""The largest cosine that is taken where the number of blocks is left open."""


@dataclass(frozen=True)
class BlockCode:
    """K block one-hot words, made when they are asked for: ``rows(labels)`` is (N, d).

    letters: q.  degree: κ, of the polynomials at most κ − 1.
    columns: the feature of each place, (n, q), all different.
    """

    classes: int
    features: int
    letters: int
    degree: int
    columns: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.classes, self.features

    @property
    def blocks(self) -> int:
        """n, the entries that a row has."""
        return int(self.columns.shape[0])

    @property
    def cosine_bound(self) -> float:
        """(κ − 1)/n, which no cosine of two rows exceeds."""
        return (self.degree - 1) / self.blocks

    def words(self, labels: Tensor) -> Tensor:
        """f_k(x_b) of classes (N,) at the points x_b: (N, n), numbers below q."""
        p, m = _prime_power(self.letters)
        multiply = _multiplications(self.letters, self.blocks)
        value = torch.zeros(labels.numel(), self.blocks, m, dtype=torch.int64)
        for power in reversed(range(self.degree)):  # Horner: value · x + c
            letter = labels.cpu() // self.letters**power % self.letters
            value = torch.einsum("kbi,bij->kbj", value, multiply) + _digits(letter, p, m)[:, None]
            value %= p
        return (value * p ** torch.arange(m)).sum(dim=2)

    def rows(self, labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """The vectors (N, d) of classes (N,)."""
        block = torch.arange(self.blocks)
        places = self.columns[block, self.words(labels)]
        out = torch.zeros(labels.numel(), self.features, dtype=dtype)
        return out.scatter_(1, places, 1 / math.sqrt(self.blocks)).to(labels.device)


def block_codes(
    classes: int,
    features: int,
    *,
    blocks: int | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """w_k[b q + f_k(x_b)] = 1/√n: (K, d), entries ≥ 0, cosines from 0 to (κ − 1)/n.

    With n = ``blocks``, q is the largest prime power with q n ≤ d, and κ the least degree with
    K ≤ q^κ. Where n is left open it is the smallest with (κ − 1)/n ≤ 1/2: words as sparse as can
    be (n = 2 for K ≤ q², q ≈ d/2); where no n has that, the one with the least (κ − 1)/n. More
    blocks have smaller cosines, and rows that share more features.

    ``generator`` draws which features the places are; those beyond q n take no part. For K ≤ d,
    ``nonnegative_orthogonal`` has cosine 0 throughout. Rows need not be stored:
    ``fixhead.vectors.block_code`` makes them when asked, for ``many_classes.LazyVectors``.

    Source: Reed and Solomon 1960; Kautz and Singleton 1964.

    Raises:
        RequestError: no code with so many words fits d, or arguments that make no sense.
    """
    check_dtype("block_codes", dtype)
    code = block_code(classes, features, blocks=blocks, generator=generator)
    return stored("block_codes", code.rows(torch.arange(classes), torch.float64), dtype)


def block_code(
    classes: int,
    features: int,
    *,
    blocks: int | None = None,
    generator: torch.Generator | None = None,
) -> BlockCode:
    """``block_codes`` without making the rows.

    Raises:
        RequestError: as ``block_codes``.
    """
    check_size("block_codes", classes, features)
    letters, number, degree = _sizes(classes, features, blocks)
    order = torch.randperm(features, generator=default_generator_or(generator))
    columns = order[: letters * number].view(number, letters)
    return BlockCode(classes, features, letters, degree, columns)


def most_words(features: int) -> int:
    """The largest K for which there is a code of d features: the largest q^n."""
    return max((letters**blocks for blocks, letters in _possible(features).items()), default=1)


def _possible(features: int) -> dict[int, int]:
    """Numbers of blocks n, each with its q: the largest prime power with q n ≤ d; n ≤ q."""
    found = {n: _largest_prime_power(features // n) for n in range(1, math.isqrt(features) + 1)}
    return {blocks: letters for blocks, letters in found.items() if letters >= max(blocks, 2)}


def _sizes(classes: int, features: int, blocks: int | None) -> tuple[int, int, int]:
    """q, n and κ, as the docstring of ``block_codes`` says."""
    possible = _possible(features)
    if blocks is not None:
        if isinstance(blocks, bool) or not isinstance(blocks, int) or blocks not in possible:
            raise RequestError(
                f"block_codes() needs blocks as one of {', '.join(map(str, possible)) or 'none'} "
                f"for features={features}, got blocks={blocks!r}; leave it out to have it chosen"
            )
        possible = {blocks: possible[blocks]}
    found = []
    for number, letters in possible.items():
        degree = _degree(classes, letters)
        if degree <= number:  # above, two words would be equal
            found.append((letters, number, degree))
            if (degree - 1) / number <= MOST_IN_COMMON:
                return found[-1]
    if not found:
        raise RequestError(_too_many(classes, features, possible))
    return min(found, key=lambda fit: (fit[2] - 1) / fit[1])


def _degree(classes: int, letters: int) -> int:
    """The least κ with K ≤ q^κ."""
    degree = 1
    while letters**degree < classes:
        degree += 1
    return degree


def _too_many(classes: int, features: int, possible: dict[int, int]) -> str:
    most = max((letters**blocks for blocks, letters in possible.items()), default=1)
    blocks = f" in {next(iter(possible))} blocks" if len(possible) == 1 else ""
    return (
        f"block_codes() needs classes <= {most:,} for features={features}{blocks}, got classes="
        f"{classes}; use more features, or codes(), which have entries below 0"
    )


def _largest_prime_power(limit: int) -> int:
    """The largest prime power up to ``limit``, 1 where there is none."""
    return next((q for q in range(limit, 1, -1) if _prime_power_or_none(q)), 1)


def _prime_power(q: int) -> tuple[int, int]:
    found = _prime_power_or_none(q)
    assert found is not None
    return found


def _prime_power_or_none(q: int) -> tuple[int, int] | None:
    """(p, m) with q = p^m; None where q is no prime power."""
    p = next((p for p in range(2, math.isqrt(q) + 1) if q % p == 0), q)
    m = 0
    while q % p == 0:
        q, m = q // p, m + 1
    return (p, m) if q == 1 else None


def _digits(numbers: Tensor, p: int, m: int) -> Tensor:
    """The m lowest digits in base p, the lowest first: (…,) → (…, m)."""
    return numbers.unsqueeze(-1) // p ** torch.arange(m) % p


@lru_cache(maxsize=64)
def _multiplications(q: int, points: int) -> Tensor:
    """Of the elements 0 … points − 1: the matrices (points, m, m) by which their products are
    digits(a x) = digits(a) M_x mod p."""
    p, m = _prime_power(q)
    companion = _companion(p, m)
    powers = [torch.eye(m, dtype=torch.int64)]
    for _ in range(m - 1):
        powers.append(powers[-1] @ companion % p)
    return torch.einsum("xi,ijk->xjk", _digits(torch.arange(points), p, m), torch.stack(powers)) % p


def _companion(p: int, m: int) -> Tensor:
    """The matrix of a ↦ a α for a root α of a primitive polynomial of degree m over GF(p).

    Polynomials x^m + … are tried in the order of their coefficients, until the powers of α run
    through all p^m − 1 elements but 0: the matrices of a field, then. m = 1: α = 1 is enough,
    for the products of numbers mod p.
    """
    if m == 1:
        return torch.ones(1, 1, dtype=torch.int64)
    known = PRIMITIVE[m] - 2**m if p == 2 and m in PRIMITIVE else 1
    for number in range(known, p**m):
        last = [-digit % p for digit in _digits(torch.tensor(number), p, m).tolist()]
        if last[0] and _order(last, p) == p**m - 1:
            matrix = torch.zeros(m, m, dtype=torch.int64)
            matrix[:-1, 1:] = torch.eye(m - 1, dtype=torch.int64)
            matrix[-1] = torch.tensor(last)
            return matrix
    raise AssertionError(f"no primitive polynomial of degree {m} over GF({p})")


def _order(last: list[int], p: int) -> int:
    """The least e > 0 with α^e = 1, where α^m = Σ_i last_i α^i and last_0 is not 0."""
    one = [1] + [0] * (len(last) - 1)
    value, order = one, 0
    while True:
        top = value[-1]
        below = [0, *value[:-1]]
        value, order = [(a + top * b) % p for a, b in zip(below, last, strict=True)], order + 1
        if value == one:
            return order

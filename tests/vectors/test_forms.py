"""Gold, Kerdock and Delsarte–Goethals against the definition: every pair, transformed or plain."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.linalg import hadamard as scipy_hadamard

from fixhead.vectors.code_families import (
    LARGEST,
    PRIMITIVE,
    Family,
    algebraic,
    delsarte_goethals,
    field,
    gold,
    hadamard_block,
    kerdock,
    random_signs,
)
from fixhead.vectors.sylvester import transform, walsh_rows


def largest_cosine(first: torch.Tensor, others: torch.Tensor) -> float:
    """max |Σ_x (−1)^(first + other)(x) + ⟨r, x⟩| / d over all r and all other diagonals."""
    signs = 1 - 2 * (first ^ others).float()
    return float(transform(signs).abs().max()) / first.numel()


def worst_of_all_pairs(family: Family) -> float:
    assert family.blocks is not None
    bits = family.bits(torch.arange(family.blocks))
    return max(largest_cosine(bits[i], bits[i + 1 :]) for i in range(family.blocks - 1))


def test_transform_is_multiplication_by_the_sylvester_matrix():
    x = torch.randn(3, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    H = torch.from_numpy(scipy_hadamard(32)).double()
    assert torch.allclose(transform(x), x @ H)
    assert torch.equal(walsh_rows(torch.arange(32), torch.arange(32), 5), H.float())


@pytest.mark.parametrize("m", range(1, 11))
def test_field_tables_are_those_of_a_field(m: int):
    F = field(m)
    assert F.exp[: F.size - 1].sort().values.tolist() == list(range(1, F.size))  # primitive
    a, b, c = torch.randint(F.size, (3, 500), generator=torch.Generator().manual_seed(m))
    assert torch.equal(F.times(a, b ^ c), F.times(a, b) ^ F.times(a, c))
    assert torch.equal(F.times(a, F.times(b, c)), F.times(F.times(a, b), c))
    assert torch.equal(F.power(a, 3), F.times(a, F.times(a, a)))
    square = F.power(a, 2)
    assert torch.equal(F.trace[a ^ b], F.trace[a] ^ F.trace[b])
    assert torch.equal(F.trace[square], F.trace[a])
    assert int(F.trace.sum()) == F.size // 2


def test_all_polynomials_are_primitive():
    for m in range(11, LARGEST + 1):
        order, value = 0, 1
        while order == 0 or value != 1:
            value <<= 1
            value ^= PRIMITIVE[m] if value >> m else 0
            order += 1
        assert order == 2**m - 1


@pytest.mark.parametrize("m", range(2, 8))
def test_every_pair_of_vectors_is_within_the_coherence_and_some_pair_reaches_it(m: int):
    for family in algebraic(m)[1:]:
        if m == 7 and family.name == "delsarte-goethals":
            continue  # linear: test_linear_families_of_odd_degree covers it
        assert worst_of_all_pairs(family) == family.coherence


@pytest.mark.parametrize(("m", "vectors", "cosine"), [(3, 64, 0.5), (5, 1024, 0.25)])
def test_gold_has_d_squared_vectors(m: int, vectors: int, cosine: float):
    assert gold(m).largest == vectors == (2**m) ** 2
    assert gold(m).coherence == cosine == math.sqrt(2) / math.sqrt(2**m)


@pytest.mark.parametrize(
    ("m", "vectors", "cosine"), [(2, 12, 0.5), (4, 144, 0.25), (6, 2112, 1 / 8)]
)
def test_kerdock_fills_levenshteins_bound(m: int, vectors: int, cosine: float):
    d = 2**m
    assert kerdock(m).largest == vectors == d * (d + 2) // 2
    assert kerdock(m).coherence == cosine == 1 / math.sqrt(d)


def test_delsarte_goethals_sizes_are_those_of_the_theorem():
    assert delsarte_goethals(9).largest == 512**3 == 134_217_728
    assert delsarte_goethals(9).coherence == 0.125
    assert delsarte_goethals(10).largest == 1024**3 // 4
    assert delsarte_goethals(10).coherence == 2 / 32


@pytest.mark.parametrize("m", [7, pytest.param(9, marks=pytest.mark.slow)])
def test_linear_families_of_odd_degree(m: int):
    """Differences of linear forms are forms of the family again: all of them against block 0."""
    for family in (gold(m), delsarte_goethals(m)):
        assert family.blocks is not None
        pair = torch.randint(family.blocks, (2, 200), generator=torch.Generator().manual_seed(m))
        together = family.bits(pair[0] ^ pair[1])
        assert torch.equal(together, family.bits(pair[0]) ^ family.bits(pair[1]))
        zero = family.bits(0)
        assert not zero.any()
        worst = max(
            largest_cosine(zero, family.bits(torch.arange(start, min(start + 4096, family.blocks))))
            for start in range(1, family.blocks, 4096)
        )
        assert worst == family.coherence


@pytest.mark.parametrize("m", [8, pytest.param(10, marks=pytest.mark.slow)])
def test_families_of_even_degree(m: int):
    """Kerdock: all pairs. Delsarte–Goethals: all pairs up to x → cx, which maps q_ab to
    q_(ca)(c³b) and permutes the columns: only the pairs (0 or 1, a) remain, with every b."""
    F = field(m - 1)
    assert worst_of_all_pairs(kerdock(m)) == kerdock(m).coherence
    family = delsarte_goethals(m)
    worst = 0.0
    for reference in (0, 1):
        zero = family.bits(reference)
        for b in range(F.size):
            others = torch.arange(F.size) + (b << (m - 1))
            others = others[others != reference]
            worst = max(worst, largest_cosine(zero, family.bits(others)))
    assert worst == family.coherence


def test_scaling_the_field_maps_the_even_family_to_itself():
    m = 8
    F, family = field(m - 1), delsarte_goethals(m)
    x = torch.arange(F.size)
    for a, b, c in torch.randint(1, F.size, (50, 3), generator=torch.Generator().manual_seed(0)):
        scaled = F.times(c, x)
        columns = torch.cat([scaled, scaled + F.size])
        there = int(F.times(c, a)) + (int(F.times(F.power(c, 3), b)) << (m - 1))
        here = int(a) + (int(b) << (m - 1))
        assert torch.equal(family.bits(here)[columns], family.bits(there))


@pytest.mark.parametrize("family", [gold(5), kerdock(6), delsarte_goethals(6), random_signs(6, 3)])
def test_a_block_is_the_same_alone_and_among_others(family: Family):
    several = family.bits(torch.tensor([7, 3, 19]))
    assert several.dtype == torch.uint8
    assert torch.equal(several[1], family.bits(3))
    assert torch.equal(several[2], family.bits(19))


def test_one_block_is_orthogonal():
    assert hadamard_block(3).largest == 8
    assert hadamard_block(3).coherence == 0


def test_random_signs_depend_on_seed_and_block_only():
    assert torch.equal(random_signs(8, 1).bits(5), random_signs(8, 1).bits(5))
    assert not torch.equal(random_signs(8, 1).bits(5), random_signs(8, 2).bits(5))
    fair = random_signs(10, 0).bits(torch.arange(100)).float().mean()
    assert abs(float(fair) - 0.5) < 0.01

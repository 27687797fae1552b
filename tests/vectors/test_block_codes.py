"""Block one-hot words of polynomials over finite fields: cosines, signs, sizes, refusals."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead import RequestError, certify, many_classes, vectors
from fixhead.vectors.block_codes import _multiplications, most_words


def is_prime_power(q: int) -> bool:
    primes = [p for p in range(2, q + 1) if q % p == 0 and all(p % r for r in range(2, p))]
    return len(primes) == 1


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_rows_are_non_negative_unit_distinct_and_within_their_bound(data):
    features = data.draw(st.integers(2, 150), label="features")
    classes = data.draw(st.integers(2, min(most_words(features), 400)), label="classes")
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 9)))
    code = vectors.block_code(classes, features, generator=generator)
    assert is_prime_power(code.letters)
    assert code.blocks <= code.letters
    assert code.letters * code.blocks <= features
    assert code.letters ** (code.degree - 1) < classes <= code.letters**code.degree
    rows = code.rows(torch.arange(classes), torch.float64)
    assert float(rows.min()) >= 0
    assert torch.allclose(rows.norm(dim=1), torch.ones(classes, dtype=torch.float64))
    gram = rows @ rows.T
    off = gram[~torch.eye(classes, dtype=torch.bool)]
    assert float(off.max()) <= code.cosine_bound + 1e-12
    assert torch.unique(rows, dim=0).shape[0] == classes
    per_block = (rows[:, code.columns] > 0).sum(dim=2)  # (K, n)
    assert bool((per_block == 1).all())


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_number_of_blocks_that_is_asked_for_is_what_the_rows_have(data):
    features = data.draw(st.integers(9, 200), label="features")
    blocks = data.draw(st.integers(1, math.isqrt(features)), label="blocks")
    classes = data.draw(st.integers(2, 300), label="classes")
    try:
        rows = vectors.block_codes(classes, features, blocks=blocks, dtype=torch.float64)
    except RequestError:
        q = max(q for q in range(1, features // blocks + 1) if q == 1 or is_prime_power(q))
        assert q < blocks or q**blocks < classes
        return
    assert bool(((rows > 0).sum(dim=1) == blocks).all())
    degree = vectors.block_code(classes, features, blocks=blocks).degree
    off = (rows @ rows.T).fill_diagonal_(0)
    assert float(off.max()) <= (degree - 1) / blocks + 1e-12


def test_every_word_of_a_full_code_has_its_distance():
    code = vectors.block_code(9**2, 81, blocks=9)
    words = code.words(torch.arange(81))
    same = (words[:, None] == words[None]).sum(dim=2).fill_diagonal_(0)
    assert code.degree == 2
    # A Reed–Solomon code is MDS: two words agree in at most κ − 1 places, and some do.
    assert int(same.max()) == 1
    assert all(len(set(column.tolist())) == 9 for column in words.T)


def test_over_a_prime_field_words_are_polynomials_mod_q():
    code = vectors.block_code(300, 49, blocks=7)
    expected = [
        [sum((k // 7**j % 7) * x**j for j in range(code.degree)) % 7 for x in range(7)]
        for k in range(300)
    ]
    assert code.words(torch.arange(300)).tolist() == expected


@pytest.mark.parametrize("q", [4, 8, 9, 16, 25, 27, 32, 49, 64, 81, 121, 125])
def test_products_make_a_field_of_every_prime_power(q):
    p = next(p for p in range(2, q + 1) if q % p == 0)
    m = round(math.log(q, p))
    matrices = _multiplications(q, q)
    weights = p ** torch.arange(m)
    digits = torch.arange(q)[:, None] // weights % p
    table = (torch.einsum("ai,xij->axj", digits, matrices) % p * weights).sum(dim=2)
    assert torch.equal(table, table.T)  # commutative
    assert torch.equal(table[1], torch.arange(q))  # 1 is neutral
    for a in range(1, q):  # every a but 0 has an inverse, so no product of two others is 0
        assert sorted(table[a].tolist()) == list(range(q))
    for a, b, c in itertools.islice(itertools.product(range(q), repeat=3), 0, None, 97):
        assert table[table[a, b], c] == table[a, table[b, c]]  # associative


@pytest.mark.parametrize(
    ("classes", "features", "expected"),
    [
        (64, 64, (64, 1, 1)),
        (100, 64, (32, 2, 2)),
        (1024, 64, (32, 2, 2)),
        (1025, 64, (16, 4, 3)),
        (43, 32, (16, 2, 2)),
        (200, 100, (49, 2, 2)),
    ],
)
def test_the_sparsest_words_within_a_half_are_chosen(classes, features, expected):
    code = vectors.block_code(classes, features)
    assert (code.letters, code.blocks, code.degree) == expected
    assert code.cosine_bound <= 0.5


def test_where_no_code_is_within_a_half_the_least_bound_is_taken():
    code = vectors.block_code(27, 9)  # only q = 3, n = 3, κ = 3 has 27 words in 9 features
    assert (code.letters, code.blocks, code.degree) == (3, 3, 3)


def test_a_feature_after_a_relu_reaches_every_vector():
    certificate = certify(vectors.block_codes(500, 64))
    assert certificate.reachable_nonnegative_min == pytest.approx(1.0)
    assert certificate.cosine_min == 0
    assert certificate.cosine_max == pytest.approx(0.5)


def test_the_generator_draws_which_features_the_places_are():
    draws = [
        vectors.block_codes(60, 32, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_rows_that_are_not_stored_give_the_loss_of_those_that_are():
    generator = torch.Generator().manual_seed(3)
    code = vectors.block_code(700, 48)
    features = torch.rand(20, 48, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(700, (20,), generator=generator)
    lazy = many_classes.LazyVectors(code, unit_rows=True)
    options = {"logits": "cosine", "scale": 12.0}
    loss = many_classes.linear_cross_entropy(features, lazy, labels, **options)
    unit = features / features.norm(dim=1, keepdim=True)
    plain = torch.nn.functional.cross_entropy(
        12 * unit @ code.rows(torch.arange(700), torch.float64).T, labels
    )
    assert torch.allclose(loss, plain, rtol=1e-6)
    ours, theirs = (torch.autograd.grad(value, features)[0] for value in (loss, plain))
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("classes", "features", "options", "words"),
    [
        (65, 8, {}, "classes <= 16 for features=8, got classes=65"),
        (10, 16, {"blocks": 5}, "blocks as one of 1, 2, 3, 4 for features=16, got blocks=5"),
        (10, 16, {"blocks": True}, "blocks=True"),
        (65, 16, {"blocks": 2}, "classes <= 64 for features=16 in 2 blocks"),
        (2, 1, {"blocks": 1}, "blocks as one of none"),
    ],
)
def test_what_no_code_can_meet_is_refused(classes, features, options, words):
    with pytest.raises(RequestError, match=words):
        vectors.block_codes(classes, features, **options)

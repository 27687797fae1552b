"""random, simplex, orthonormal, hadamard against what defines them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard as scipy_hadamard

from fixhead import RequestError, vectors

SETTINGS = settings(deadline=None, max_examples=25)
F64 = torch.float64


def gram(rows: torch.Tensor) -> torch.Tensor:
    return rows.double() @ rows.double().T


def off_diagonal(rows: torch.Tensor) -> torch.Tensor:
    K = rows.shape[0]
    return gram(rows)[~torch.eye(K, dtype=torch.bool)]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@SETTINGS
@given(st.integers(1, 64), st.data())
def test_simplex_cosines_are_all_minus_one_over_k_minus_one(features: int, data: st.DataObject):
    classes = data.draw(st.integers(2, features + 1))
    rotate = data.draw(st.booleans())
    W = vectors.simplex(classes, features, rotate=rotate, dtype=F64)
    expected = torch.full((classes, classes), -1 / (classes - 1), dtype=F64).fill_diagonal_(1.0)
    assert torch.allclose(gram(W), expected, atol=1e-12)


def kasarla(k: int) -> torch.Tensor:
    """The published recursion, columns as vectors."""
    if k == 1:
        return torch.tensor([[1.0, -1.0]], dtype=F64)
    top = torch.full((1, k), -1 / k, dtype=F64)
    first = torch.cat([torch.ones(1, 1, dtype=F64), top], dim=1)
    rest = torch.cat(
        [torch.zeros(k - 1, 1, dtype=F64), math.sqrt(1 - 1 / k**2) * kasarla(k - 1)], dim=1
    )
    return torch.cat([first, rest], dim=0)


@pytest.mark.parametrize("classes", [2, 3, 10, 60])
def test_canonical_simplex_is_the_published_recursion(classes: int):
    W = vectors.simplex(classes, classes + 4, rotate=False, dtype=F64)
    assert torch.allclose(W[:, : classes - 1], kasarla(classes - 1).T, atol=1e-14)
    assert not W[:, classes - 1 :].any()


def test_rotated_simplex_has_no_class_that_nonnegative_features_cannot_reach():
    worst = [
        float(vectors.simplex(10, 64, generator=generator(seed)).clamp(min=0).norm(dim=1).min())
        for seed in range(50)
    ]
    assert min(worst) > 0.4


def test_simplex_needs_no_more_than_k_minus_one_features():
    assert vectors.simplex(10, 9).shape == (10, 9)
    with pytest.raises(RequestError, match=r"features >= classes - 1 = 10, got features=9"):
        vectors.simplex(11, 9)


def test_haar_rotation_has_the_moments_of_the_uniform_distribution():
    # Entries of a Haar frame have mean 0 and variance 1/d; QR without signs fails the mean.
    entries = torch.stack([vectors.orthonormal(2, 3, generator=generator(s)) for s in range(2000)])
    assert float(entries.mean(dim=0).abs().max()) < 0.05
    assert torch.allclose(entries.var(dim=0), torch.full((2, 3), 1 / 3), atol=0.03)


@SETTINGS
@given(st.integers(2, 64), st.data())
def test_orthonormal_gram_is_the_identity(features: int, data: st.DataObject):
    classes = data.draw(st.integers(2, features))
    W = vectors.orthonormal(classes, features, dtype=F64)
    assert torch.allclose(gram(W), torch.eye(classes, dtype=F64), atol=1e-12)


def test_orthonormal_refuses_more_classes_than_features():
    with pytest.raises(RequestError, match=r"features >= classes = 11, got features=10; simplex"):
        vectors.orthonormal(11, 10)


@SETTINGS
@given(st.integers(2, 300), st.integers(0, 5), st.data())
def test_hadamard_rows_are_distinct_signs(features: int, seed: int, data: st.DataObject):
    order = 1 << (features - 1).bit_length()
    classes = data.draw(st.integers(2, order))
    W = vectors.hadamard(classes, features, generator=generator(seed))
    assert torch.equal(W.abs(), torch.full_like(W, 1 / math.sqrt(features)))
    assert torch.unique(W, dim=0).shape[0] == classes
    if features >= 4:
        assert not (W[:, :1] == W).all(dim=1).any()


@pytest.mark.parametrize("features", [2, 8, 64])
def test_hadamard_at_a_power_of_two_is_a_hadamard_matrix(features: int):
    W = vectors.hadamard(features, features, dtype=F64) * math.sqrt(features)
    assert torch.allclose(W @ W.T, features * torch.eye(features, dtype=F64))


def test_hadamard_rows_are_sylvester_rows_under_one_set_of_signs():
    # Sylvester rows are a group under the entrywise product; common signs make it a coset.
    rows = vectors.hadamard(64, 48).sign()
    present = {tuple(row) for row in rows.tolist()}
    for i, j, k in torch.randint(64, (200, 3), generator=generator(0)).tolist():
        assert tuple((rows[i] * rows[j] * rows[k]).tolist()) in present


@pytest.mark.parametrize("features", [48, 100, 342, 640])
def test_hadamard_off_powers_of_two_beats_plain_truncation(features: int):
    order = 1 << (features - 1).bit_length()
    ours = float(off_diagonal(vectors.hadamard(order, features)).abs().max())
    plain = torch.from_numpy(scipy_hadamard(order)[:, :features]).double() / math.sqrt(features)
    assert ours < float(off_diagonal(plain).abs().max())
    assert ours < 0.7 * math.sqrt(2 * math.log(order) / features)


def test_hadamard_refuses_rows_that_would_repeat():
    with pytest.raises(RequestError, match="classes <= 512"):
        vectors.hadamard(1000, 512)


def test_random_rows_are_uniform_on_the_sphere():
    W = vectors.random(20000, 3, dtype=F64)
    assert float(W.mean(dim=0).abs().max()) < 0.02
    assert torch.allclose(W.T @ W / 20000, torch.eye(3, dtype=F64) / 3, atol=0.01)


def test_released_random_rows_are_directions_of_whole_numbers():
    W = vectors.random(50, 4, released=True, dtype=F64)
    for row in W:
        ratio = row / row.abs().max()
        # For some whole largest coordinate, 1 … 100, the others are whole too.
        whole = torch.arange(1, 101, dtype=F64).unsqueeze(1) * ratio
        assert float((whole - whole.round()).abs().amax(dim=1).min()) < 1e-9


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_random_redraws_until_rows_differ_in_the_stored_type(dtype: torch.dtype):
    W = vectors.random(40, 2, dtype=dtype)
    assert W.dtype == dtype
    assert torch.unique(W.double(), dim=0).shape[0] == 40


def test_random_refuses_when_no_rows_are_left():
    assert sorted(vectors.random(2, 1).flatten().tolist()) == [-1.0, 1.0]
    with pytest.raises(RequestError, match=r"random\(\) needs 3 distinct rows"):
        vectors.random(3, 1)
    with pytest.raises(RequestError, match="wider"):
        vectors.random(100_000, 2, dtype=torch.bfloat16)


@pytest.mark.parametrize("name", ["random", "simplex", "orthonormal", "hadamard"])
def test_seed_zero_stands_in_for_a_missing_generator(name: str):
    given_none = vectors.build(name, 8, 16)
    assert torch.equal(given_none, vectors.build(name, 8, 16, generator=generator(0)))
    assert not torch.equal(given_none, vectors.build(name, 8, 16, generator=generator(1)))


def test_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    options = {"guided": {"counts": [4, 3, 2, 1]}}
    for name in set(vectors.CONSTRUCTIONS) - {"from_tensor"}:
        vectors.build(name, *((4, 2) if name == "polygon" else (4, 4)), **options.get(name, {}))
    vectors.build("equiangular", 6, 3)  # one that is searched for, too
    assert torch.equal(before, torch.random.get_rng_state())

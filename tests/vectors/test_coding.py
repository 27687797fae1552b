"""``codes``: the family it takes, what it promises, what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead import RequestError, certify, vectors
from fixhead.vectors.rows import RowSource


def off_diagonal(rows: torch.Tensor) -> torch.Tensor:
    gram = rows.double() @ rows.double().T
    return gram[~torch.eye(rows.shape[0], dtype=torch.bool)]


@pytest.mark.parametrize(
    ("classes", "features", "name", "cosine"),
    [
        (32, 32, "hadamard", 0.0),
        (33, 32, "gold", math.sqrt(2 / 32)),
        (1024, 32, "gold", math.sqrt(2 / 32)),
        (1025, 32, "delsarte-goethals", math.sqrt(8 / 32)),
        (2112, 64, "kerdock", 1 / 8),
        (2113, 64, "delsarte-goethals", 2 / 8),
        (144, 16, "kerdock", 1 / 4),
        (12, 4, "kerdock", 1 / 2),
        (64, 8, "gold", 1 / 2),
    ],
)
def test_the_least_coherent_family_that_holds_k_is_taken(classes, features, name, cosine):
    code = vectors.find_code(classes, features)
    assert (code.name, code.proved) == (name, True)
    assert code.coherence == cosine
    W = vectors.codes(classes, features, dtype=torch.float64)
    found = off_diagonal(W).abs()
    assert float(found.max()) == pytest.approx(cosine, abs=1e-12)
    # Only the values that theory allows occur: 0 and powers of √2 up to the coherence.
    allowed = torch.tensor([0.0, *(cosine / math.sqrt(2) ** i for i in range(6))])
    assert float((found.unsqueeze(-1)[:4000] - allowed).abs().amin(dim=-1).max()) < 1e-6


def test_kerdock_ends_with_the_one_hot_vectors():
    W = vectors.codes(144, 16)
    assert torch.equal(W[128:], torch.eye(16))
    assert torch.allclose(W[:128].abs(), torch.full((128, 16), 0.25))


def test_no_vector_is_constant_by_rule():
    rows = vectors.codes(1000, 64)
    assert not (rows[:, :1] == rows).all(dim=1).any()


@settings(deadline=None, max_examples=15)
@given(st.integers(40, 200), st.integers(2, 400), st.integers(0, 3))
def test_other_sizes_are_measured_not_guessed(features: int, classes: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    code = vectors.find_code(classes, features, generator=generator)
    W = vectors.codes(classes, features, generator=torch.Generator().manual_seed(seed))
    assert code.coherence == pytest.approx(float(off_diagonal(W).abs().max()), abs=1e-6)
    assert code.coherence <= 0.5
    assert torch.allclose(W.norm(dim=1), torch.ones(classes), atol=1e-6)


def test_side_by_side_beats_a_column_subset_where_powers_add_up():
    assert "512 + 128" in vectors.find_code(1000, 640).name
    assert "columns of" in vectors.find_code(3000, 120).name


def test_side_by_side_is_within_the_weighted_sum_of_its_parts():
    code = vectors.find_code(1000, 640)
    assert code.coherence <= (512 * math.sqrt(2 / 512) + 128 * math.sqrt(2 / 128)) / 640 + 1e-9


def test_implicit_rows_are_the_dense_ones_in_any_order():
    for classes, features in [(2112, 64), (1000, 640), (500, 100)]:
        code = vectors.find_code(classes, features)
        W = vectors.codes(classes, features)
        labels = torch.randperm(classes, generator=torch.Generator().manual_seed(1))[:200]
        assert torch.allclose(code.vectors.rows(labels), W[labels], atol=1e-7)
        assert code.vectors.shape == (classes, features)


def test_implicit_vectors_certify_like_dense_ones():
    code, W = vectors.find_code(1500, 64), vectors.codes(1500, 64)
    implicit, dense = certify(code.vectors).to_dict(), certify(W).to_dict()
    for name, value in dense.items():
        if isinstance(value, float):
            assert implicit[name] == pytest.approx(value, abs=1e-6), name
        elif not isinstance(value, dict):
            assert implicit[name] == value


def test_a_code_of_millions_is_certified_by_sampling():
    code = vectors.find_code(1_000_000, 128)
    assert code.name == "delsarte-goethals"
    rows = RowSource(code.vectors, "test")
    far = rows.raw(torch.tensor([0, 999_999, 123_456]))
    cosines = off_diagonal(far).abs()
    assert float(cosines.max()) <= code.coherence + 1e-6


def test_sampled_certificate_says_so():
    code = vectors.find_code(3000, 64)
    certificate = certify(code.vectors, sample=100)
    assert certificate.sampled_classes == 100
    assert "100 classes" in str(certificate)
    assert certificate.abs_cosine_max <= code.coherence + 1e-6
    assert certify(code.vectors, sample=3000).sampled_classes is None


def test_random_signs_on_request_are_measured():
    code = vectors.find_code(500, 256, family="random")
    assert not code.proved
    W = vectors.codes(500, 256, family="random")
    assert code.coherence == pytest.approx(float(off_diagonal(W).abs().max()), abs=1e-6)
    assert 0.1 < code.coherence < 0.4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": 5000, "features": 64, "family": "gold"}, "no gold family at features=64"),
        ({"classes": 50, "features": 32, "family": "kerdock"}, "no kerdock family"),
        ({"classes": 50, "features": 48, "family": "kerdock"}, "no kerdock family"),
        (
            {"classes": 5000, "features": 32, "family": "gold"},
            "classes <= 1024 at features=32, got classes=5000; use family='delsarte-goethals'",
        ),
        (
            {"classes": 70_000, "features": 64, "family": "delsarte-goethals"},
            "classes <= 65536 at features=64, got classes=70000; use family='random'",
        ),
        ({"classes": 13, "features": 4}, "where none is below 0.5"),
        ({"classes": 70, "features": 8}, "got 0.750"),
        ({"classes": 300, "features": 12}, "got 0.8"),
        ({"classes": 100, "features": 64, "max_cosine": 0.1}, "got 0.125"),
        ({"classes": 100, "features": 64, "max_cosine": 0}, "max_cosine <= 1"),
        ({"classes": 100, "features": 64, "family": "silver"}, "'silver'"),
        ({"classes": 1, "features": 64}, "classes >= 2"),
        ({"classes": 10, "features": 2**21}, "features <= "),
    ],
)
def test_impossible_codes_are_refused_with_the_figure(options, words):
    with pytest.raises(RequestError, match=words):
        vectors.codes(**options)

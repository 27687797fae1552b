"""Optimised codes against known optima, closed forms and their own bound."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead import RequestError, vectors
from fixhead.vectors.spherical import smooth_maximum

F64 = torch.float64


def largest(rows: torch.Tensor, *, lines: bool = False) -> float:
    cosines = (rows.double() @ rows.double().T)[~torch.eye(rows.shape[0], dtype=torch.bool)]
    return float(cosines.abs().max() if lines else cosines.max())


@pytest.mark.parametrize(
    ("classes", "features", "cosine"),
    [
        (4, 3, -1 / 3),
        (6, 3, 0.0),
        (9, 2, math.cos(2 * math.pi / 9)),
        (7, 3, math.cos(math.radians(77.8695421))),  # Schütte and van der Waerden
        (8, 3, (math.sqrt(8) - 1) / 7),  # square antiprism
        (9, 3, 1 / 3),
        (12, 3, 1 / math.sqrt(5)),  # icosahedron
        (20, 3, math.cos(math.radians(47.4310362))),  # best known (Sloane's tables)
        (10, 4, 1 / 6),  # Petersen code
        (16, 5, 1 / 5),
        (27, 6, 1 / 4),
    ],
)
def test_small_codes_reach_the_optimum(classes: int, features: int, cosine: float):
    found = vectors.find_packing(classes, features)
    assert found.largest == pytest.approx(cosine, abs=2e-6)
    assert largest(found.vectors) == pytest.approx(found.largest, abs=1e-12)
    assert found.gap == pytest.approx(max(0.0, found.largest - found.bound))


@pytest.mark.parametrize(
    ("classes", "features", "cosine"),
    [
        (5, 8, 0.0),
        (9, 8, 1 / 8),
        (7, 2, math.cos(math.pi / 7)),
        (6, 3, 1 / math.sqrt(5)),
        (16, 6, 1 / 3),
        (28, 7, 1 / 3),
        (12, 4, 1 / 2),
    ],
)
def test_small_lines_reach_the_optimum(classes: int, features: int, cosine: float):
    found = vectors.find_packing(classes, features, lines=True)
    assert found.largest == pytest.approx(cosine, abs=2e-6)
    W = vectors.equiangular(classes, features, dtype=F64)
    assert largest(W, lines=True) == pytest.approx(cosine, abs=2e-6)


def test_bound_reached_ends_the_search():
    found = vectors.find_packing(28, 7, lines=True)
    assert found.stopped == "bound reached"
    assert found.gap < 1e-8
    assert vectors.find_packing(5, 8).stopped == "closed form"


def test_search_improves_on_the_code_it_starts_from():
    code = vectors.find_code(600, 64)
    found = vectors.find_packing(600, 64, steps=60)
    assert found.start == "kerdock"
    assert found.bound < found.largest < code.coherence - 0.005


@pytest.mark.parametrize("lines", [False, True])
def test_smooth_maximum_and_its_gradient_are_autograds(lines: bool):
    generator = torch.Generator().manual_seed(0)
    rows = vectors.random(1500, 5, generator=generator, dtype=F64)  # more than one tile
    for beta in (3.0, 4000.0):
        leaf = rows.clone().requires_grad_()
        cosines = leaf @ leaf.T
        apart = ~torch.eye(1500, dtype=torch.bool)
        terms = beta * cosines[apart]
        terms = torch.cat([terms, -terms]) if lines else terms
        plain = terms.logsumexp(0) / beta
        plain.backward()
        value, gradient, top = smooth_maximum(rows, beta, lines=lines)
        assert top == pytest.approx(largest(rows, lines=lines), abs=1e-12)
        assert value == pytest.approx(float(plain.detach()), abs=1e-9)
        assert torch.allclose(gradient, leaf.grad, rtol=1e-7, atol=1e-12)


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 60), st.integers(2, 12), st.booleans())
def test_nothing_found_is_better_than_its_bound(classes: int, features: int, lines: bool):
    found = vectors.find_packing(classes, features, lines=lines, steps=20)
    assert found.largest >= found.bound - 1e-9
    norms = found.vectors.norm(dim=1)
    assert torch.allclose(norms, torch.ones(classes, dtype=F64), atol=1e-12)


def test_threshold_is_kept_or_refused_with_the_figure():
    W = vectors.equiangular(40, 16, threshold=0.3)
    assert largest(W, lines=True) <= 0.3 + 1e-6
    with pytest.raises(RequestError, match=r"threshold=0.05, got 0\.\d+ .* below 0\.196"):
        vectors.equiangular(40, 16, threshold=0.05, steps=30)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("spherical_code", {"classes": 10_001, "features": 9}, "classes <= 10000"),
        ("spherical_code", {"classes": 3, "features": 1}, "features >= 2"),
        ("equiangular", {"classes": 2, "features": 1}, "features >= 2"),
        ("equiangular", {"classes": 5, "features": 3, "threshold": 0}, "threshold <= 1"),
        ("spherical_code", {"classes": 9, "features": 3, "steps": 0}, "steps"),
        ("spherical_code", {"classes": 9, "features": 3, "steps": 2.5}, "steps"),
    ],
)
def test_nonsense_is_refused(name, options, words):
    with pytest.raises(RequestError, match=words):
        getattr(vectors, name)(**options)


def test_two_classes_in_one_dimension_are_opposite():
    assert sorted(vectors.spherical_code(2, 1).flatten().tolist()) == [-1.0, 1.0]

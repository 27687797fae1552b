"""``best``: one construction for every (K, d), with its reason."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead import RequestError, certify, vectors
from fixhead.vectors.bounds import cosine_bound


@pytest.mark.parametrize(
    ("classes", "features", "options", "name"),
    [
        (2, 1, {}, "simplex"),
        (10, 64, {}, "simplex"),
        (65, 64, {}, "simplex"),
        (66, 64, {}, "orthoplex"),
        (128, 64, {}, "orthoplex"),
        (129, 64, {}, "spherical_code"),
        (4, 2, {}, "orthoplex"),
        (10, 2, {}, "polygon"),
        (2000, 64, {}, "codes"),
        (100_000, 512, {}, "codes"),
        (5000, 3, {}, "spherical_code"),
        (20_000, 3, {}, "random"),
        (64, 64, {"nonnegative": True}, "nonnegative_orthogonal"),
        (65, 64, {"nonnegative": True}, "simplex"),
        (10, 2, {"counts": range(1, 11)}, "guided"),
        (10, 2, {"counts": [5] * 10}, "polygon"),
        (10, 64, {"counts": range(1, 11)}, "simplex"),
    ],
)
def test_recommendations(classes, features, options, name):
    chosen = vectors.best(classes, features, **options)
    assert chosen.name == name
    assert len(chosen.reason) > 20


@settings(deadline=None, max_examples=40)
@given(
    st.integers(2, 150),
    st.integers(1, 150),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
)
def test_never_two_equal_rows(
    classes: int, features: int, nonnegative: bool, tail: bool, seed: int
):
    counts = [1 + 1000 // (k + 1) for k in range(classes)] if tail else None
    if features == 1 and classes > 2:
        with pytest.raises(RequestError, match="features >= 2"):
            vectors.best(classes, features, nonnegative=nonnegative, counts=counts)
        return
    chosen = vectors.best(classes, features, nonnegative=nonnegative, counts=counts)
    if chosen.name == "spherical_code":  # what it finds in ten steps has distinct rows already
        W = vectors.spherical_code(classes, features, steps=10)
    else:
        W = chosen.build(generator=torch.Generator().manual_seed(seed))
    certificate = certify(W)
    assert W.shape == (classes, features)
    assert certificate.distinct == classes
    assert certificate.cosine_max >= cosine_bound(classes, features) - 1e-6
    if chosen.name in ("simplex", "orthoplex", "polygon"):
        assert certificate.cosine_max == pytest.approx(cosine_bound(classes, features), abs=1e-6)
    if chosen.name == "nonnegative_orthogonal":
        assert certificate.reachable_nonnegative_min == pytest.approx(1, abs=1e-6)


def test_counts_reach_the_construction():
    counts = [7, 300, 20, 60, 2]
    chosen = vectors.best(5, 2, counts=counts)
    expected = vectors.guided(5, 2, counts=counts, order="valley")
    assert torch.equal(chosen.build(), expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"classes": 3, "features": 1}, "features >= 2"),
        ({"classes": 1, "features": 4}, "classes >= 2"),
        ({"classes": 3, "features": 4, "counts": [1, 2]}, "one each"),
        ({"classes": 3, "features": 4, "nonnegative": 1}, "True or False"),
    ],
)
def test_what_cannot_be_is_refused(arguments, words):
    with pytest.raises(RequestError, match=words):
        vectors.best(**arguments)

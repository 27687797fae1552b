"""Bounds against configurations known to meet them, and against vectors that must not beat them."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead import vectors
from fixhead.vectors.bounds import coherence_bound, cosine_bound, levenshtein, welch_bound


@pytest.mark.parametrize(
    ("classes", "features", "cosine"),
    [
        (5, 4, -1 / 4),  # simplex
        (8, 4, 0.0),  # orthoplex
        (7, 2, math.cos(2 * math.pi / 7)),  # polygon
        (12, 3, 1 / math.sqrt(5)),  # icosahedron
        (240, 8, 1 / 2),  # roots of E8
        (56, 7, 1 / 3),
        (27, 6, 1 / 4),
        (16, 5, 1 / 5),
        (275, 22, 1 / 6),
        (552, 23, 1 / 5),
        (4600, 23, 1 / 3),
        (196_560, 24, 1 / 2),  # shortest vectors of the Leech lattice
        (3, 1, 1.0),
    ],
)
def test_cosine_bound_is_met_by_sharp_configurations(classes, features, cosine):
    assert cosine_bound(classes, features) == pytest.approx(cosine, abs=1e-9)


@pytest.mark.parametrize(
    ("classes", "features", "cosine"),
    [
        (4, 4, 0.0),
        (6, 3, 1 / math.sqrt(5)),  # diagonals of the icosahedron
        (16, 6, 1 / 3),
        (28, 7, 1 / 3),
        (276, 23, 1 / 5),
        (120, 8, 1 / 2),  # lines of E8
        (12, 4, 1 / 2),  # Kerdock
        (144, 16, 1 / 4),
        (2112, 64, 1 / 8),
        (98_280, 24, 1 / 2),
        (2, 1, 1.0),
        (7, 2, math.cos(math.pi / 7)),
    ],
)
def test_coherence_bound_is_met_by_sharp_lines(classes, features, cosine):
    assert coherence_bound(classes, features) == pytest.approx(cosine, abs=1e-9)


def test_welch_bound_is_the_closed_form():
    assert welch_bound(1000, 512) == pytest.approx(math.sqrt(488 / (512 * 999)))
    assert welch_bound(512, 512) == 0


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 300), st.integers(1, 40))
def test_bounds_grow_with_classes_and_fall_with_features(classes: int, features: int):
    assert cosine_bound(classes, features) <= cosine_bound(classes + 1, features) + 1e-12
    assert cosine_bound(classes, features + 1) <= cosine_bound(classes, features) + 1e-12
    assert coherence_bound(classes, features) <= coherence_bound(classes + 1, features) + 1e-12
    assert cosine_bound(classes, features) <= 1
    assert welch_bound(classes, features) <= coherence_bound(classes, features) + 1e-12


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 120), st.integers(2, 12), st.integers(0, 5))
def test_no_vectors_beat_the_bounds(classes: int, features: int, seed: int):
    W = vectors.random(
        classes, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    cosines = (W @ W.T)[~torch.eye(classes, dtype=torch.bool)]
    assert float(cosines.max()) >= cosine_bound(classes, features) - 1e-12
    assert float(cosines.abs().max()) >= coherence_bound(classes, features) - 1e-12


def test_levenshtein_is_continuous_where_the_degree_changes():
    # K = 2·C(n, k) and their neighbours belong to different degrees.
    for features in (3, 4, 8, 16):
        values = [levenshtein(K, features) for K in range(2 * features + 1, 60 * features)]
        steps = [b - a for a, b in pairwise(values)]
        assert min(steps) > 0
        assert max(steps) < 0.5 / features

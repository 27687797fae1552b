"""Yang et al.'s released class vectors: what they are, and what is wrong with them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fixhead import ClassificationHead, RequestError
from fixhead.vectors import simplex

D, K = 64, 10


def released(seed, features=D, classes=K):
    generator = torch.Generator().manual_seed(seed)
    head = ClassificationHead(
        features, classes, vectors="yang-simplex", logits="dot", scale=1.0, generator=generator
    )
    return head.vectors


@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(0, 30))
def test_the_released_etf_is_a_simplex(seed, classes, more):
    W = released(seed, classes + more, classes)
    gram = torch.full((classes, classes), -1 / (classes - 1)).fill_diagonal_(1)
    torch.testing.assert_close(W @ W.T, gram, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(8))
def test_its_class_0_points_away_from_all_positive_features(seed):
    W = released(seed)
    ones = torch.full((D,), 1 / math.sqrt(D))
    assert float(W[0] @ ones) < -0.7
    reach = W.clamp(min=0).norm(dim=1)
    assert float(reach[0]) < 0.25
    assert float(reach[1:].min()) > 0.4
    ours = simplex(K, D, generator=torch.Generator().manual_seed(seed))
    assert float(ours.clamp(min=0).norm(dim=1).min()) > 0.3


def test_the_released_baseline_has_kaiming_rows_and_nothing_to_learn():
    head = ClassificationHead.from_preset("vectors=yang-kaiming,logits=dot,scale=1", 4_096, 50)
    assert not list(head.parameters())
    assert float(head.vectors.std()) == pytest.approx(math.sqrt(2 / 4_096), rel=0.02)
    assert abs(float(head.vectors.mean())) < 1e-3


def test_more_classes_than_features_are_refused():
    with pytest.raises(RequestError, match="yang-simplex"):
        released(0, features=9, classes=10)

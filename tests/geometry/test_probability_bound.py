"""The highest probability that cosine logits can give at a scale (Shalev et al., eqs. 4 and 5)."""

import math

import pytest
import torch
from scipy.special import softmax

from fixhead import RequestError, vectors
from fixhead.geometry import ce_floor, probability_bound


@pytest.mark.parametrize(
    ("classes", "bound"), [(10, 0.451), (100, 0.0695), (200, 0.0358), (1000, 0.0073)]
)
def test_at_scale_1_it_is_the_papers(classes, bound):
    assert probability_bound(classes) == pytest.approx(bound, abs=1e-3)


@pytest.mark.parametrize("classes", [2, 3, 50])
@pytest.mark.parametrize("scale", [0.5, 1.0, 20.0, 2_000.0])
def test_it_is_the_softmax_of_the_extreme_cosines(classes, scale):
    logits = [scale, *[-scale] * (classes - 1)]
    assert probability_bound(classes, scale) == pytest.approx(softmax(logits)[0], rel=1e-12)


@pytest.mark.parametrize("classes", [3, 10, 64])
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_no_vectors_have_a_floor_below_it(classes, scale):
    random = torch.randn(classes, 96, generator=torch.Generator().manual_seed(0))
    for W in (vectors.simplex(classes, 96), random):
        assert math.exp(-ce_floor(W, scale)) < probability_bound(classes, scale)


def test_opposite_vectors_reach_it():
    W = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert math.exp(-ce_floor(W, 3.0)) == pytest.approx(probability_bound(2, 3.0), rel=1e-9)


@pytest.mark.parametrize(("classes", "scale"), [(1, 1.0), (True, 1.0), (2.5, 1.0), (3, 0.0),
                                                (3, math.inf)])  # fmt: skip
def test_what_has_no_bound_is_refused(classes, scale):
    with pytest.raises(RequestError, match="probability_bound"):
        probability_bound(classes, scale)

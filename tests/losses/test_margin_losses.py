"""CosFace, ArcFace and NormFace against pytorch-metric-learning and against loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_references import CLASSES, ROWS, SIZE, directions, draw, entropies, one_hot
from pytorch_metric_learning.losses import ArcFaceLoss, CosFaceLoss, NormalizedSoftmaxLoss
from torch.nn.functional import normalize

from fixhead.logits import cosine
from fixhead.losses import (
    arcface,
    arcface_logits,
    arcface_margin,
    cosface,
    cosface_logits,
    cosface_margin,
    cross_entropy,
    normface,
)

LABELS = torch.arange(ROWS) % CLASSES


def compare(theirs, ours, *, antipodal=False):
    """Values and both gradients, on learned vectors; some features nearly opposite to their own."""
    features, vectors = directions(seed=2)
    vectors = 3 * vectors
    if antipodal:
        features = -vectors[LABELS] + 0.3 * draw(ROWS, SIZE, seed=5)
    theirs.W.data = vectors.T.clone()
    theirs.zero_grad()
    x = features.clone().requires_grad_()
    expected = theirs(x, LABELS)
    expected.backward()
    h, w = features.clone().requires_grad_(), vectors.clone().requires_grad_()
    loss = ours(cosine(h, w), LABELS)
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(h.grad, x.grad, rtol=1e-7, atol=1e-10)
    torch.testing.assert_close(w.grad, theirs.W.grad.T, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("margin", [0.0, 0.35, 1.0])
@pytest.mark.parametrize("scale", [1.0, 64.0])
def test_cosface_and_its_gradients_are_pytorch_metric_learnings(margin, scale):
    theirs = CosFaceLoss(CLASSES, SIZE, margin=margin, scale=scale)
    compare(theirs, lambda c, y: cosface(c, y, scale=scale, margin=margin))


@pytest.mark.parametrize("margin", [0.0, 0.5, 1.2])
@pytest.mark.parametrize("scale", [1.0, 64.0])
@pytest.mark.parametrize("antipodal", [False, True])
def test_arcface_and_its_gradients_are_pytorch_metric_learnings(margin, scale, antipodal):
    theirs = ArcFaceLoss(CLASSES, SIZE, margin=math.degrees(margin), scale=scale)
    compare(theirs, lambda c, y: arcface(c, y, scale=scale, margin=margin), antipodal=antipodal)


def test_the_antipodal_features_of_this_test_do_pass_the_last_angle():
    vectors = directions(seed=2)[1]
    features = -3 * vectors[LABELS] + 0.3 * draw(ROWS, SIZE, seed=5)
    own = cosine(features, vectors).gather(1, LABELS.unsqueeze(1))
    assert float(own.max()) < -math.cos(0.5)


def test_normface_and_its_gradients_are_pytorch_metric_learnings():
    theirs = NormalizedSoftmaxLoss(CLASSES, SIZE, temperature=0.05)
    compare(theirs, lambda c, y: normface(c, y, scale=20.0))
    compare(theirs, normface)


def test_the_defaults_are_pytorch_metric_learnings():
    compare(CosFaceLoss(CLASSES, SIZE), cosface)
    compare(ArcFaceLoss(CLASSES, SIZE, margin=math.degrees(0.5)), arcface)


def shifted(c, margin, easy):
    angle = math.acos(c)
    if easy:
        return math.cos(angle + margin) if c > 0 else c
    return math.cos(angle + margin) if angle <= math.pi - margin else c - margin * math.sin(margin)


@pytest.mark.parametrize("easy_margin", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.5, math.pi / 2])
def test_arcface_margin_turns_the_angle(margin, easy_margin):
    cosines = torch.linspace(-0.9999, 0.9999, 203, dtype=torch.float64)
    expected = [shifted(c, margin, easy_margin) for c in cosines.tolist()]
    turned = arcface_margin(cosines, margin, easy_margin=easy_margin)
    assert turned.tolist() == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(margin=st.floats(0, math.pi / 2))
def test_arcface_without_easy_margin_falls_with_the_angle(margin):
    angles = torch.linspace(1e-3, math.pi - 1e-3, 400, dtype=torch.float64)
    steps = arcface_margin(angles.cos(), margin).diff()
    assert (steps <= 1e-12).all()


@pytest.mark.parametrize("change", [lambda z: z, lambda z: 2 * z])
def test_only_the_own_entry_changes(change):
    cosines = change(0.4 * torch.tanh(draw(ROWS, CLASSES)))
    own = one_hot(LABELS).bool()
    for logits, expected in (
        (cosface_logits(cosines, LABELS, scale=7.0), 7 * cosface_margin(cosines[own], 0.35)),
        (arcface_logits(cosines, LABELS, scale=7.0), 7 * arcface_margin(cosines[own], 0.5)),
    ):
        torch.testing.assert_close(logits[~own], 7 * cosines[~own])
        torch.testing.assert_close(logits[own], expected)


def test_an_ignored_row_keeps_all_its_logits():
    cosines, labels = torch.tanh(draw(ROWS, CLASSES)), LABELS.clone()
    labels[4] = -100
    for logits in (cosface_logits(cosines, labels), arcface_logits(cosines, labels)):
        torch.testing.assert_close(logits[4], 64 * cosines[4])
        assert not torch.equal(logits[3], 64 * cosines[3])


@pytest.mark.parametrize("easy_margin", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_gradient_is_finite_at_and_around_both_poles(dtype, easy_margin):
    one = torch.ones((), dtype=dtype)
    below, above = (torch.nextafter(one, value) for value in (torch.zeros_like(one), 2 * one))
    poles = torch.stack([one, below, above, -one, -below, -above])
    cosines = torch.zeros(6, 3, dtype=dtype).index_copy(1, torch.tensor([1]), poles[:, None])
    cosines.requires_grad_()
    labels = torch.ones(6, dtype=torch.int64)
    loss = arcface(cosines, labels, easy_margin=easy_margin, reduction="none")
    loss.sum().backward()
    assert loss.isfinite().all()
    assert cosines.grad.isfinite().all()


def test_the_slope_at_a_pole_is_the_cosine_of_the_margin():
    pole = torch.ones(1, requires_grad=True)
    arcface_margin(pole, 0.5).backward()
    assert float(pole.grad) == pytest.approx(math.cos(0.5))
    assert float(arcface_margin(torch.ones(1), 0.5)) == pytest.approx(math.cos(0.5))


def test_a_feature_on_its_own_vector_gets_a_finite_gradient_through_arcface():
    vectors = normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    features = (2 * vectors).requires_grad_()
    arcface(cosine(features, vectors, unit_vectors=True), torch.arange(4)).backward()
    assert features.grad.isfinite().all()


def test_a_learned_scale_gets_its_gradient():
    cosines = torch.tanh(draw(ROWS, CLASSES))
    for shape in ((), (1,)):
        scale = torch.full(shape, 8.0, dtype=torch.float64, requires_grad=True)
        cosface(cosines, LABELS, scale=scale).backward()
        step = 1e-6
        high, low = (float(cosface(cosines, LABELS, scale=8.0 + e)) for e in (step, -step))
        assert float(scale.grad) == pytest.approx((high - low) / (2 * step), rel=1e-6)


def test_normface_takes_mixup_targets():
    cosines = torch.tanh(draw(ROWS, CLASSES))
    targets = 0.4 * one_hot(LABELS) + 0.6 * one_hot(LABELS.roll(1))
    expected = entropies(10 * cosines, targets).mean()
    torch.testing.assert_close(normface(cosines, targets, scale=10.0), expected)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 100))
def test_no_margin_is_normface_is_cross_entropy(seed, scale):
    cosines = torch.tanh(draw(ROWS, CLASSES, seed=seed))
    expected = cross_entropy(scale * cosines, LABELS)
    for loss in (
        normface(cosines, LABELS, scale=scale),
        cosface(cosines, LABELS, scale=scale, margin=0.0),
        arcface(cosines, LABELS, scale=scale, margin=0.0),
    ):
        torch.testing.assert_close(loss, expected)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 1000),
    margins=st.tuples(st.floats(0, math.pi / 2), st.floats(0, math.pi / 2)),
)
def test_a_larger_margin_never_lowers_a_loss(seed, margins):
    cosines = torch.tanh(draw(ROWS, CLASSES, seed=seed))
    small, large = sorted(margins)
    for loss in (cosface, arcface):
        less = loss(cosines, LABELS, margin=small, reduction="none")
        more = loss(cosines, LABELS, margin=large, reduction="none")
        assert (more >= less - 1e-9).all()

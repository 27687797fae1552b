import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_references import CLASSES, ROWS, batch, log_softmax, mixed, one_hot

from fixhead.losses import cross_entropy, focal

ALPHA = torch.tensor([0.25, 1.0, 0.5, 2.0, 0.75], dtype=torch.float64)


def reference(row, k, gamma, alpha=1.0):
    log_p = log_softmax(row)[k]
    return -alpha * (-math.expm1(log_p)) ** gamma * log_p


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_is_its_formula_for_labels_and_for_mixtures(gamma):
    logits, labels = batch()
    hard = focal(logits, labels, gamma=gamma, alpha=ALPHA, reduction="none")
    soft = focal(logits, mixed(), gamma=gamma, alpha=ALPHA, reduction="none")
    for i, row in enumerate(logits.tolist()):
        each = [reference(row, k, gamma, float(ALPHA[k])) for k in range(CLASSES)]
        assert float(hard[i]) == pytest.approx(each[labels[i]], rel=1e-12)
        blend = math.fsum(t * value for t, value in zip(mixed()[i].tolist(), each, strict=True))
        assert float(soft[i]) == pytest.approx(blend, rel=1e-12)


def test_one_hot_targets_are_labels():
    logits, labels = batch()
    torch.testing.assert_close(focal(logits, one_hot(labels)), focal(logits, labels))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), weighted=st.booleans())
def test_gamma_zero_is_cross_entropy_with_its_weighted_mean(seed, weighted):
    logits, labels = batch(seed)
    alpha = ALPHA if weighted else None
    labels = labels.index_fill(0, torch.tensor([seed % ROWS]), -100)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = focal(ours, labels, gamma=0.0, alpha=alpha)
    expected = cross_entropy(theirs, labels, weight=alpha)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 1000),
    gammas=st.tuples(st.floats(0, 8), st.floats(0, 8)),
    shift=st.floats(-100, 100),
)
def test_focal_falls_with_gamma_and_ignores_a_shift(seed, gammas, shift):
    logits, labels = batch(seed)
    low, high = sorted(gammas)
    more = focal(logits, labels, gamma=low, reduction="none")
    less = focal(logits + shift, labels, gamma=high, reduction="none")
    assert (less <= more + 1e-10).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_a_row_that_is_certain_has_no_loss_and_no_gradient(gamma):
    logits = torch.tensor([[200.0, 0.0, -5.0]], requires_grad=True)
    loss = focal(logits, torch.tensor([0]), gamma=gamma)
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("lead", [8.0, 9.5, 10.125, 12.0])
def test_confident_rows_lose_no_digits_after_the_softmax(lead):
    """At p = 1 - 4e-5, 1 - p keeps 3 digits in float32, and -expm1(log p) keeps all."""
    logits, label = torch.tensor([[lead, 0.0]]), torch.tensor([0])
    log_p = -float(cross_entropy(logits, label))
    expected = -(math.expm1(log_p) ** 2) * log_p
    assert float(focal(logits, label, gamma=2.0)) == pytest.approx(expected, rel=1e-6, abs=0)

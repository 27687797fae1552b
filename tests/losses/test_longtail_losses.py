import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_references import CLASSES, COUNTS, ROWS, batch, draw, entropies, mixed, one_hot
from torch.nn.functional import softmax

from fixhead.losses import (
    adjust_logits,
    balanced_softmax,
    cosface,
    cross_entropy,
    deferred_weights,
    effective_number_weights,
    ldam,
    ldam_margins,
    logit_adjustment,
)


def test_balanced_softmax_is_its_formula():
    logits, labels = batch()
    losses = balanced_softmax(logits, labels, COUNTS, reduction="none")
    for z, y, loss in zip(logits.tolist(), labels.tolist(), losses.tolist(), strict=True):
        shares = [n * math.exp(value) for n, value in zip(COUNTS.tolist(), z, strict=True)]
        assert loss == pytest.approx(-math.log(shares[y] / math.fsum(shares)), rel=1e-12)


def test_balanced_softmax_is_arb_with_the_counts_of_the_training_set():
    logits, labels = batch(seed=2)
    losses = balanced_softmax(logits, labels, COUNTS, reduction="none")
    n = COUNTS.tolist()
    for z, y, loss in zip(logits.tolist(), labels.tolist(), losses.tolist(), strict=True):
        total = math.fsum(n[k] / n[y] * math.exp(z[k]) for k in range(CLASSES))
        assert loss == pytest.approx(-math.log(math.exp(z[y]) / total), rel=1e-12)


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("soft", [False, True])
def test_logit_adjustment_adds_tau_log_prior(tau, label_smoothing, soft):
    logits, labels = batch(seed=3)
    targets = mixed() if soft else one_hot(labels)
    prior = [n / int(COUNTS.sum()) for n in COUNTS.tolist()]
    adjusted = logits + torch.tensor([tau * math.log(p) for p in prior], dtype=torch.float64)
    smooth = (1 - label_smoothing) * targets + label_smoothing / CLASSES
    losses = logit_adjustment(
        logits,
        targets if soft else labels,
        COUNTS,
        tau=tau,
        label_smoothing=label_smoothing,
        reduction="none",
    )
    torch.testing.assert_close(losses, entropies(adjusted, smooth))


def test_post_hoc_adjustment_turns_a_posterior_into_that_under_equal_classes():
    prior = COUNTS.double() / COUNTS.sum()
    likelihoods = draw(ROWS, CLASSES).exp()
    posterior = likelihoods * prior / (likelihoods * prior).sum(dim=1, keepdim=True)
    balanced = softmax(adjust_logits(posterior.log(), COUNTS), dim=1)
    torch.testing.assert_close(balanced, likelihoods / likelihoods.sum(dim=1, keepdim=True))


def test_post_hoc_adjustment_takes_back_the_one_in_training():
    logits, labels = batch(seed=4)
    adjusted = adjust_logits(logits, COUNTS, tau=0.7)
    loss = logit_adjustment(adjusted, labels, COUNTS, tau=0.7)
    torch.testing.assert_close(loss, cross_entropy(logits, labels))


def test_post_hoc_adjustment_computes_halves_in_float32():
    logits = batch()[0].half()
    torch.testing.assert_close(adjust_logits(logits, COUNTS), adjust_logits(logits.float(), COUNTS))


def test_ldam_margins_are_the_published_ones():
    margins = ldam_margins(torch.tensor([10_000, 625, 16]))
    assert margins.tolist() == pytest.approx([0.1, 0.2, 0.5])
    fourth_roots = [n**-0.25 for n in COUNTS.tolist()]
    expected = [0.5 * value / max(fourth_roots) for value in fourth_roots]
    assert ldam_margins(COUNTS).tolist() == pytest.approx(expected)


def test_ldam_is_cross_entropy_after_the_margin_of_the_own_class():
    cosines, labels = torch.tanh(draw(ROWS, CLASSES)), batch()[1]
    margins = ldam_margins(COUNTS).tolist()
    logits = cosines.clone()
    for i, y in enumerate(labels.tolist()):
        logits[i, y] -= margins[y]
    weight = torch.tensor([0.5, 0.7, 1.0, 1.3, 1.5], dtype=torch.float64)
    losses = entropies(30 * logits, one_hot(labels), weight)
    loss = ldam(cosines, labels, COUNTS.double(), weight=weight)
    torch.testing.assert_close(loss, losses.sum() / weight[labels].sum(), rtol=1e-7, atol=0)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.99, 0.9999, 1 - 1e-9])
def test_effective_number_weights_are_their_formula(beta):
    raw = [(1 - beta) / (1 - beta**n) for n in COUNTS.tolist()]
    expected = [CLASSES * value / sum(raw) for value in raw]
    weights = effective_number_weights(COUNTS.double(), beta=beta)
    assert weights.tolist() == pytest.approx(expected, rel=1e-6)


def test_effective_number_weights_keep_their_digits_in_float32():
    raw = [(1 - 0.9999) / (1 - 0.9999**n) for n in COUNTS.tolist()]
    expected = [CLASSES * value / sum(raw) for value in raw]
    weights = effective_number_weights(COUNTS)
    assert weights.dtype == torch.float32
    assert weights.tolist() == pytest.approx(expected, rel=1e-6)


def test_effective_number_weights_near_one_are_inverse_counts():
    inverse = 1 / COUNTS.double()
    weights = effective_number_weights(COUNTS.double(), beta=1 - 1e-12)
    torch.testing.assert_close(weights, CLASSES * inverse / inverse.sum(), rtol=1e-8, atol=0)


def test_deferred_weights_are_one_until_their_epoch():
    for epoch in (0, 159):
        assert deferred_weights(COUNTS, epoch).tolist() == [1.0] * CLASSES
    torch.testing.assert_close(deferred_weights(COUNTS, 160), effective_number_weights(COUNTS))
    torch.testing.assert_close(
        deferred_weights(COUNTS, 3, start=3, beta=0.9), effective_number_weights(COUNTS, beta=0.9)
    )


@settings(deadline=None, max_examples=40)
@given(count=st.integers(1, 10**6), seed=st.integers(0, 1000))
def test_equal_counts_change_nothing(count, seed):
    counts = torch.full((CLASSES,), count)
    logits, labels = batch(seed)
    plain = cross_entropy(logits, labels)
    torch.testing.assert_close(balanced_softmax(logits, labels, counts), plain)
    torch.testing.assert_close(logit_adjustment(logits, labels, counts, tau=1.7), plain)
    torch.testing.assert_close(adjust_logits(logits, counts).argmax(1), logits.argmax(1))
    torch.testing.assert_close(effective_number_weights(counts), torch.ones(CLASSES))
    cosines = torch.tanh(logits)
    torch.testing.assert_close(
        ldam(cosines, labels, counts, scale=20.0), cosface(cosines, labels, scale=20.0, margin=0.5)
    )


@settings(deadline=None, max_examples=40)
@given(factor=st.integers(1, 1000), seed=st.integers(0, 1000))
def test_only_the_shares_of_the_counts_matter(factor, seed):
    logits, labels = batch(seed)
    cosines = torch.tanh(logits)
    for loss, values in ((balanced_softmax, logits), (logit_adjustment, logits), (ldam, cosines)):
        shares = COUNTS.double() * factor
        torch.testing.assert_close(
            loss(values, labels, shares), loss(values, labels, COUNTS.double())
        )


@settings(deadline=None, max_examples=40)
@given(order=st.permutations(range(CLASSES)))
def test_renaming_the_classes_changes_nothing(order):
    logits, labels = batch(seed=8)
    order = torch.tensor(order)
    renamed = order.argsort()[labels]
    for loss, values in (
        (balanced_softmax, logits),
        (logit_adjustment, logits),
        (ldam, torch.tanh(logits)),
    ):
        torch.testing.assert_close(
            loss(values[:, order], renamed, COUNTS[order]), loss(values, labels, COUNTS)
        )


@settings(deadline=None, max_examples=40)
@given(counts=st.lists(st.integers(1, 10**6), min_size=2, max_size=9))
def test_rarer_classes_get_larger_margins_and_weights(counts):
    counts = torch.tensor(sorted(counts)).double()
    for values in (ldam_margins(counts), effective_number_weights(counts)):
        assert (values.diff() <= 1e-9).all()
    assert float(ldam_margins(counts).max()) == pytest.approx(0.5)
    assert float(effective_number_weights(counts).sum()) == pytest.approx(len(counts))

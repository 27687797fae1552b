import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_references import CLASSES, ROWS, batch, entropies, mixed, one_hot
from torch.nn import functional as F

from fixhead.losses import cross_entropy

WEIGHT = torch.tensor([0.2, 1.0, 3.0, 0.0, 1.5], dtype=torch.float64)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_and_its_gradient_are_torchs(soft, weight, label_smoothing, reduction):
    logits, labels = batch()
    labels = mixed() if soft else labels.index_fill(0, torch.tensor([2, 5]), -100)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    options = {"weight": weight, "label_smoothing": label_smoothing, "reduction": reduction}
    loss = cross_entropy(ours, labels, **options)
    expected = F.cross_entropy(theirs, labels, **options)
    torch.testing.assert_close(loss, expected, rtol=1e-14, atol=1e-14)
    loss.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_labels_are_one_hot_targets_smoothed_towards_the_uniform(label_smoothing):
    logits, labels = batch(seed=3)
    targets = (1 - label_smoothing) * one_hot(labels) + label_smoothing / CLASSES
    losses = cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
    torch.testing.assert_close(losses, entropies(logits, targets))


def test_probabilities_with_weights_are_the_formula():
    logits, _ = batch(seed=4)
    losses = cross_entropy(logits, mixed(), weight=WEIGHT, reduction="none")
    torch.testing.assert_close(losses, entropies(logits, mixed(), WEIGHT))


def test_the_weighted_mean_divides_by_the_weights_of_the_rows():
    logits, labels = batch(seed=5)
    losses = entropies(logits, one_hot(labels), WEIGHT)
    expected = losses.sum() / WEIGHT[labels].sum()
    torch.testing.assert_close(cross_entropy(logits, labels, weight=WEIGHT), expected)


def test_weights_that_are_all_zero_in_the_batch_give_zero_not_nan():
    logits = batch()[0].requires_grad_()
    loss = cross_entropy(logits, torch.full((ROWS,), 3), weight=WEIGHT)
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_a_mixup_of_labels_is_the_mixture_of_their_losses():
    logits, labels = batch(seed=6)
    other = labels.roll(1)
    targets = 0.3 * one_hot(labels) + 0.7 * one_hot(other)
    expected = 0.3 * cross_entropy(logits, labels) + 0.7 * cross_entropy(logits, other)
    torch.testing.assert_close(cross_entropy(logits, targets), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_labels_of_any_integer_type_count_the_same(dtype):
    logits, labels = batch()
    torch.testing.assert_close(
        cross_entropy(logits, labels.to(dtype)), cross_entropy(logits, labels)
    )


def test_another_ignore_index_ignores_that_label():
    logits, labels = batch()
    kept = labels != 2
    loss = cross_entropy(logits, labels, ignore_index=2)
    torch.testing.assert_close(loss, F.cross_entropy(logits[kept], labels[kept]))


@settings(deadline=None, max_examples=40)
@given(shift=st.floats(-1e3, 1e3), seed=st.integers(0, 1000), smoothing=st.floats(0, 1))
def test_adding_one_number_to_a_row_changes_nothing(shift, seed, smoothing):
    logits, labels = batch(seed)
    moved = cross_entropy(logits + shift, labels, label_smoothing=smoothing)
    plain = cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(moved, plain, rtol=1e-10, atol=1e-10)


@settings(deadline=None, max_examples=40)
@given(order=st.permutations(range(CLASSES)), rows=st.permutations(range(ROWS)))
def test_renaming_classes_and_reordering_rows_changes_nothing(order, rows):
    logits, labels = batch(seed=9)
    order, rows = torch.tensor(order), torch.tensor(rows)
    renamed = order.argsort()[labels]
    loss = cross_entropy(logits[:, order][rows], renamed[rows], weight=WEIGHT[order])
    torch.testing.assert_close(loss, cross_entropy(logits, labels, weight=WEIGHT))

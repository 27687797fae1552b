import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_references import (
    CLASSES,
    COUNTS,
    ROWS,
    batch,
    directions,
    dot,
    mixed,
    one_hot,
    published_dot_regression,
    target_lengths,
)

from fixhead.losses import class_lengths, dot_regression, squared_cosine
from fixhead.vectors import simplex

UNEVEN = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 3, 3, 0])


@pytest.mark.parametrize("regularisation", [0.0, 0.01])
@pytest.mark.parametrize("unit_vectors", [False, True])
def test_the_default_is_the_published_code(unit_vectors, regularisation):
    features, vectors = directions()
    loss = dot_regression(
        features, vectors, UNEVEN, unit_vectors=unit_vectors, regularisation=regularisation
    )
    lengths = target_lengths(UNEVEN, CLASSES)
    expected = published_dot_regression(features, vectors, UNEVEN, lengths, regularisation)
    assert float(loss) == pytest.approx(expected, rel=1e-12)


def test_lengths_follow_the_batch_with_one_for_absent_classes():
    counts = torch.bincount(UNEVEN, minlength=CLASSES).double()
    expected = torch.tensor(target_lengths(UNEVEN, CLASSES)).double()
    torch.testing.assert_close(class_lengths(counts), expected)
    assert class_lengths(counts)[2] == 1
    assert class_lengths(counts)[4] == 1


def test_lengths_of_the_training_set_are_fixed_whatever_the_batch():
    features, vectors = directions()
    lengths = class_lengths(COUNTS)
    total = int(COUNTS.sum())
    expected = [math.sqrt(total / CLASSES / n) for n in COUNTS.tolist()]
    assert lengths.tolist() == pytest.approx(expected)
    losses = dot_regression(features, vectors, UNEVEN, lengths=lengths.double(), reduction="none")
    for i in range(ROWS):
        alone = dot_regression(features[i : i + 1], vectors, UNEVEN[i : i + 1], lengths=lengths)
        assert float(losses[i]) == pytest.approx(float(alone))
        one = published_dot_regression(
            features[i : i + 1], vectors, UNEVEN[i : i + 1], lengths.tolist()
        )
        assert float(alone) == pytest.approx(one)


@pytest.mark.parametrize("E_W", [1.0, 2.5])
@pytest.mark.parametrize("E_H", [None, 1.0, 4.0])
def test_the_papers_form_regresses_to_the_product_of_both_lengths(E_W, E_H):
    features, vectors = directions()
    losses = dot_regression(
        features, vectors, UNEVEN, form="paper", lengths="none", E_W=E_W, E_H=E_H, reduction="none"
    )
    goal = math.sqrt(E_W * (1.0 if E_H is None else E_H))
    for h, y, loss in zip(features.tolist(), UNEVEN.tolist(), losses.tolist(), strict=True):
        w = [math.sqrt(E_W) * value for value in vectors[y].tolist()]
        assert loss == pytest.approx((dot(h, w) - goal) ** 2 / (2 * goal), rel=1e-12)


def test_the_pull_is_the_published_gradient_with_the_feature_length_held():
    features, vectors = directions()
    features.requires_grad_()
    dot_regression(features, vectors, UNEVEN, reduction="sum").backward()
    lengths = target_lengths(UNEVEN, CLASSES)
    for h, y, gradient in zip(features.detach(), UNEVEN.tolist(), features.grad, strict=True):
        m = lengths[y] * vectors[y]
        cosine = float(h @ m / (h.norm() * m.norm()))
        torch.testing.assert_close(gradient, -(1 - cosine) * m.norm() * m)


def test_the_papers_pull_is_one_minus_cosine_on_features_of_their_length():
    features, vectors = directions()
    features = (3.0 * features / features.norm(dim=1, keepdim=True)).requires_grad_()
    options = {"form": "paper", "lengths": "none", "E_H": 9.0, "E_W": 4.0, "reduction": "sum"}
    dot_regression(features, vectors, UNEVEN, **options).backward()
    for h, y, gradient in zip(features.detach(), UNEVEN.tolist(), features.grad, strict=True):
        cosine = float(h @ vectors[y] / 3.0)
        torch.testing.assert_close(gradient, -(1 - cosine) * 2.0 * vectors[y])


def test_on_unit_features_both_forms_are_half_the_squared_cosine():
    features, vectors = directions()
    features = features / features.norm(dim=1, keepdim=True)
    half = squared_cosine(features, vectors, UNEVEN, reduction="none") / 2
    for form in ("code", "paper"):
        losses = dot_regression(
            features, vectors, UNEVEN, form=form, lengths="none", reduction="none"
        )
        torch.testing.assert_close(losses, half)


def test_code_weighs_a_row_by_the_square_of_its_length_and_paper_by_the_length():
    features, vectors = directions()
    features = features / features.norm(dim=1, keepdim=True)
    lengths = class_lengths(COUNTS.double())
    for form, power in (("code", 2), ("paper", 1)):
        plain = dot_regression(
            features, vectors, UNEVEN, form=form, lengths="none", reduction="none"
        )
        losses = dot_regression(
            features, vectors, UNEVEN, form=form, lengths=lengths, reduction="none"
        )
        torch.testing.assert_close(losses, plain * lengths[UNEVEN] ** power)


@pytest.mark.parametrize("form", ["code", "paper"])
def test_mixup_within_the_batch_counts_as_the_code_counts(form):
    """The code draws lengths from the un-mixed labels and mixes the two losses."""
    features, vectors = directions()
    other, share = UNEVEN.roll(5), 0.3
    lengths = class_lengths(torch.bincount(UNEVEN, minlength=CLASSES).double())
    expected = share * dot_regression(features, vectors, UNEVEN, form=form, lengths=lengths)
    expected += (1 - share) * dot_regression(features, vectors, other, form=form, lengths=lengths)
    targets = share * one_hot(UNEVEN) + (1 - share) * one_hot(other)
    loss = dot_regression(features, vectors, targets, form=form, regularisation=0.1)
    loss = loss - 0.1 * features.norm(dim=1).mean()
    torch.testing.assert_close(loss, expected)


def test_one_hot_targets_are_labels():
    features, vectors = directions()
    for loss in (dot_regression, squared_cosine):
        hard = loss(features, vectors, UNEVEN, reduction="none")
        soft = loss(features, vectors, one_hot(UNEVEN), reduction="none")
        torch.testing.assert_close(hard, soft)


def test_ignored_rows_leave_the_lengths_of_the_batch():
    features, vectors = directions()
    labels = UNEVEN.clone()
    labels[[0, 7]] = -100
    kept = labels != -100
    loss = dot_regression(features, vectors, labels)
    torch.testing.assert_close(loss, dot_regression(features[kept], vectors, labels[kept]))


def test_a_zero_feature_is_pulled_and_gives_no_nan():
    features, vectors = torch.zeros(2, 7, requires_grad=True), directions()[1].float()
    labels = torch.tensor([1, 4])
    loss = dot_regression(features, vectors, labels, regularisation=0.5, reduction="sum")
    loss.backward()
    torch.testing.assert_close(features.grad, -vectors[labels], rtol=1e-5, atol=1e-6)
    features.grad = None
    squared_cosine(features, vectors, labels, reduction="sum").backward()
    assert not features.grad.any()


def test_learned_vectors_get_the_pull_too_with_their_length_held():
    features, vectors = directions()
    vectors.requires_grad_()
    dot_regression(features[:1], vectors, UNEVEN[:1], lengths="none").backward()
    h, w = features[0], vectors.detach()[UNEVEN[0]]
    torch.testing.assert_close(vectors.grad[UNEVEN[0]], (h @ w / h.norm() - w.norm()) * h)
    assert not vectors.grad[1:].any()


def test_squared_cosine_is_its_formula():
    features, vectors = directions()
    vectors = 3 * vectors
    losses = squared_cosine(features, vectors, UNEVEN, reduction="none")
    soft = squared_cosine(features, vectors, mixed(), reduction="none")
    for i in range(ROWS):
        h = features[i].tolist()
        cosines = [dot(h, w) / math.sqrt(dot(h, h) * dot(w, w)) for w in vectors.tolist()]
        assert float(losses[i]) == pytest.approx((1 - cosines[UNEVEN[i]]) ** 2)
        blend = math.fsum(
            t * (1 - c) ** 2 for t, c in zip(mixed()[i].tolist(), cosines, strict=True)
        )
        assert float(soft[i]) == pytest.approx(blend)


def test_autocast_keeps_soft_targets_in_float32():
    features, vectors = (part.float() for part in directions())
    targets = mixed().float()
    plain = squared_cosine(features, vectors, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(squared_cosine(features, vectors, targets), plain)


def test_features_on_their_simplex_vectors_have_no_loss():
    vectors = simplex(10, 16, dtype=torch.float64)
    labels = torch.arange(10)
    for loss in (dot_regression, squared_cosine):
        assert float(loss(5 * vectors, vectors, labels)) == pytest.approx(0, abs=1e-25)


@settings(deadline=None, max_examples=40)
@given(
    size=st.floats(1e-3, 1e3),
    energy=st.floats(1e-3, 1e3),
    seed=st.integers(0, 1000),
    lengths=st.sampled_from(["batch", "none"]),
)
def test_the_published_loss_is_homogeneous_in_feature_and_target(size, energy, seed, lengths):
    features, vectors = directions(seed)
    labels = batch(seed)[1]
    plain = dot_regression(features, vectors, labels, lengths=lengths)
    scaled = dot_regression(size * features, vectors, labels, lengths=lengths, E_W=energy)
    torch.testing.assert_close(scaled, size * energy * plain)


@settings(deadline=None, max_examples=30)
@given(each=st.integers(1, 4), seed=st.integers(0, 1000))
def test_lengths_of_a_balanced_batch_are_one(each, seed):
    features, vectors = directions(seed, rows=each * CLASSES)
    labels = torch.arange(CLASSES).repeat(each)
    balanced = dot_regression(features, vectors, labels)
    torch.testing.assert_close(balanced, dot_regression(features, vectors, labels, lengths="none"))

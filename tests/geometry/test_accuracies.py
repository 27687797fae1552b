import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from fixhead import RequestError
from fixhead.geometry import accuracy
from fixhead.geometry.accuracy import SHOT_NAMES, by_group, range_groups, shot_groups

K, N = 6, 200


def sample(seed=0, rows=N, classes=K):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=generator)
    predictions = torch.randint(classes, (rows,), generator=generator)
    return labels, torch.where(torch.arange(rows) % 3 > 0, labels, predictions)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(1, 60))
def test_accuracies_are_scikit_learns(seed, rows):
    labels, predictions = sample(seed, rows)
    counts = accuracy.class_counts(labels, predictions, K)
    known = np.unique(labels)
    assert float(accuracy.accuracy(counts)) == metrics.accuracy_score(labels, predictions)
    recall = metrics.recall_score(labels, predictions, average=None, labels=known)
    np.testing.assert_allclose(accuracy.class_accuracies(counts)[known], recall)
    assert float(accuracy.balanced_accuracy(counts)) == pytest.approx(recall.mean())
    f1 = metrics.f1_score(labels, predictions, average="macro", zero_division=0)
    assert float(accuracy.macro_f1(counts)) == pytest.approx(f1)


def test_a_tally_says_what_the_confusion_matrix_says():
    labels, predictions = sample()
    M = accuracy.confusion_matrix(labels, predictions, K)
    assert np.array_equal(M, metrics.confusion_matrix(labels, predictions))
    counts = accuracy.class_counts(labels, predictions, K)
    assert torch.equal(accuracy.class_counts_of(M), counts)


def test_tallies_and_confusions_of_batches_add_up():
    labels, predictions = sample()
    parts = list(zip(labels.split(23), predictions.split(23), strict=True))
    added = sum(accuracy.class_counts(*part, K) for part in parts)
    assert torch.equal(added, accuracy.class_counts(labels, predictions, K))
    M = torch.zeros(K, K, dtype=torch.int64)
    for part in parts:
        accuracy.count_confusions_(M, *part)
    assert torch.equal(M, accuracy.confusion_matrix(labels, predictions, K))


def test_narrow_integers_count_as_wide_ones():
    labels, predictions = sample()
    narrow = accuracy.class_counts(labels.to(torch.uint8), predictions.to(torch.int32), K)
    assert torch.equal(narrow, accuracy.class_counts(labels, predictions, K))


def test_classes_without_images_or_predictions_have_their_own_meaning():
    counts = accuracy.class_counts(torch.tensor([0, 0, 1]), torch.tensor([0, 3, 3]), 5)
    found = accuracy.class_accuracies(counts)
    assert found[:2].tolist() == [0.5, 0.0]
    assert found[2:].isnan().all()
    assert accuracy.vanished_classes(counts).tolist() == [False, True, False, False, False]
    f1 = accuracy.class_f1(counts)
    assert [math.isnan(value) for value in f1.tolist()] == [False, False, True, False, True]
    assert float(accuracy.macro_f1(counts)) == pytest.approx((2 / 3 + 0 + 0) / 3)


def test_shots_follow_the_published_borders():
    counts = torch.tensor([500, 101, 100, 21, 20, 19, 0])
    assert shot_groups(counts).tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert [SHOT_NAMES[g] for g in shot_groups(counts)[:1]] == ["many"]
    assert shot_groups(counts, many=20, few=20).tolist() == [0, 0, 0, 0, 1, 2, 2]


@pytest.mark.parametrize(
    ("classes", "sizes"), [(10, [3, 4, 3]), (100, [36, 35, 29]), (1_000, [390, 445, 165])]
)
def test_ranges_follow_yang_et_al(classes, sizes):
    groups = range_groups(classes)
    assert torch.bincount(groups).tolist() == sizes
    assert torch.equal(groups, groups.sort().values)


def test_group_accuracies_are_means_of_class_accuracies():
    labels, predictions = sample()
    groups = torch.tensor([0, 2, 0, 2, 2, 3])
    found = accuracy.group_accuracies(accuracy.class_counts(labels, predictions, K), groups)
    per_class = metrics.recall_score(labels, predictions, average=None)
    for g in (0, 2, 3):
        assert float(found[g]) == pytest.approx(per_class[groups.numpy() == g].mean())
    assert math.isnan(found[1])  # a group without a class


def test_values_without_meaning_do_not_count_in_a_group():
    values = torch.tensor([1.0, math.nan, 3.0, math.nan])
    groups = torch.tensor([0, 0, 0, 1])
    found = by_group(values, groups, 2)
    assert float(found[0]) == 2.0
    assert math.isnan(found[1])


def test_borders_and_labels_that_do_not_fit_are_refused():
    with pytest.raises(RequestError, match="give medium= and tail="):
        range_groups(200)
    with pytest.raises(RequestError, match="medium <= tail"):
        range_groups(10, medium=7, tail=3)
    assert torch.bincount(range_groups(200, medium=50, tail=150)).tolist() == [50, 100, 50]
    with pytest.raises(RequestError, match="belongs to two groups"):
        shot_groups(torch.tensor([1]), many=10, few=20)
    with pytest.raises(RequestError, match="integer training counts"):
        shot_groups(torch.tensor([1.0]))
    with pytest.raises(RequestError, match="labels in 0 … 5"):
        accuracy.class_counts(torch.tensor([0]), torch.tensor([6]), K)
    with pytest.raises(RequestError, match="labels in 0 … 5"):
        accuracy.confusion_matrix(torch.tensor([0]), torch.tensor([6]), K)
    with pytest.raises(RequestError, match="labels in 0 … 1"):
        by_group(torch.zeros(2), torch.tensor([0, 2]), 2)

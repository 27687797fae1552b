import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from fixhead import RequestError
from fixhead.geometry.compactness import (
    class_separabilities,
    compactness,
    empty_compactness,
    feature_norm,
    separability,
    update_compactness_,
    update_norms_,
)
from fixhead.geometry.statistics import ClassStatistics, class_statistics, merge
from fixhead.vectors import build

K, D, N = 5, 7, 200
GROUPS = torch.tensor([0, 1, 1, 2, 0])


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def case():
    labels = torch.randint(K, (N,), generator=torch.Generator().manual_seed(1))
    predictions = torch.randint(K, (N,), generator=torch.Generator().manual_seed(2))
    predictions = torch.where(torch.arange(N) % 3 == 0, predictions, labels)
    return draw(N, D) + 0.5, draw(K, D, seed=3), labels, predictions


def cosines(features, vectors, labels):
    every = 1 - cdist(features.double(), vectors.double(), "cosine")
    return every[np.arange(len(labels)), labels]


def assert_means(found, members, case):
    features, vectors, labels, predictions = case
    own, predicted = (cosines(features, vectors, y) for y in (labels, predictions))
    right = (labels == predictions).numpy()
    assert float(found.own) == pytest.approx(own[members].mean(), abs=1e-7)
    assert float(found.own_right) == pytest.approx(own[members & right].mean(), abs=1e-7)
    assert float(found.own_wrong) == pytest.approx(own[members & ~right].mean(), abs=1e-7)
    assert float(found.predicted) == pytest.approx(predicted[members].mean(), abs=1e-7)
    assert float(found.predicted_wrong) == pytest.approx(
        predicted[members & ~right].mean(), abs=1e-7
    )
    norms = np.linalg.norm(features.double().numpy(), axis=1)
    assert float(found.norm) == pytest.approx(norms[members].mean(), rel=1e-12)
    assert float(found.norm_std) == pytest.approx(norms[members].std(), rel=1e-12)
    assert float(found.norm_right) == pytest.approx(norms[members & right].mean(), rel=1e-12)
    assert float(found.norm_wrong) == pytest.approx(norms[members & ~right].mean(), rel=1e-12)


def pick(found, index):
    return type(found)(*(value[index] for value in vars(found).values()))


def test_mean_cosines_are_split_by_right_and_wrong_over_all_classes_and_groups(case):
    stats = update_compactness_(empty_compactness(K), *case)
    labels = case[2].numpy()
    assert_means(compactness(stats), np.ones(N, dtype=bool), case)
    for c in range(K):
        assert_means(pick(compactness(stats, torch.arange(K)), c), labels == c, case)
    for g in range(3):
        assert_means(pick(compactness(stats, GROUPS), g), GROUPS.numpy()[labels] == g, case)


def test_batches_and_merged_parts_give_the_same_cosines(case):
    whole = update_compactness_(empty_compactness(K), *case)
    features, vectors, labels, predictions = case
    parts = [empty_compactness(K), empty_compactness(K)]
    for index, (x, y, p) in enumerate(
        zip(features.split(17), labels.split(17), predictions.split(17), strict=True)
    ):
        update_compactness_(parts[index % 2], x, vectors, y, p)
    torch.testing.assert_close(merge(*parts).packed, whole.packed, rtol=1e-10, atol=1e-12)


def test_features_on_their_vectors_are_perfectly_compact():
    W = build("random", K, D)
    labels = torch.arange(K).repeat(4)
    stats = update_compactness_(empty_compactness(K), 7 * W[labels], W, labels, labels)
    found = compactness(stats)
    assert float(found.own) == pytest.approx(1.0, abs=1e-6)
    assert math.isnan(found.own_wrong)
    assert math.isnan(found.predicted_wrong)


def test_what_has_no_length_has_cosine_zero():
    x = torch.zeros(2, D)
    labels = torch.tensor([0, 1])
    found = compactness(update_compactness_(empty_compactness(K), x, draw(K, D), labels, labels))
    assert float(found.own) == 0.0
    assert float(found.norm) == 0.0


def test_random_features_have_no_direction_in_common_with_any_vector():
    size, rows = 1_000, 400
    labels = torch.randint(K, (rows,), generator=torch.Generator().manual_seed(0))
    stats = update_compactness_(
        empty_compactness(K), draw(rows, size), draw(K, size, seed=1), labels, labels
    )
    # A cosine of random directions has mean 0 and variance 1/d.
    assert abs(float(compactness(stats).own)) < 5 / math.sqrt(size * rows)


def test_norms_are_numpys_over_all_classes_and_groups(case):
    features, _, labels, _ = case
    stats = ClassStatistics.empty(K, 1, pooled=False)
    for x, y in zip(features.split(19), labels.split(19), strict=True):
        update_norms_(stats, x, y)
    norms = np.linalg.norm(features.double().numpy(), axis=1)
    found = feature_norm(stats)
    assert float(found.mean) == pytest.approx(norms.mean(), rel=1e-12)
    assert float(found.std) == pytest.approx(norms.std(), rel=1e-12)
    per_group = feature_norm(stats, GROUPS)
    for g in range(3):
        own = norms[GROUPS.numpy()[labels.numpy()] == g]
        assert float(per_group.mean[g]) == pytest.approx(own.mean(), rel=1e-12)
        assert float(per_group.std[g]) == pytest.approx(own.std(), rel=1e-12)


def test_features_of_one_length_have_no_spread_of_norms():
    features = torch.nn.functional.normalize(draw(N, D).double()) * 1_000
    labels = torch.zeros(N, dtype=torch.int64)
    stats = update_norms_(ClassStatistics.empty(K, 1, pooled=False), features, labels)
    assert float(feature_norm(stats).std) < 1e-12
    assert feature_norm(stats, torch.arange(K)).mean[1:].isnan().all()


def test_separability_is_the_loop_over_pairs_of_means(case):
    features, _, labels, _ = case
    stats = class_statistics(features, labels, K, pooled=False)
    apart = cdist(stats.means, stats.means, "cosine")
    assert float(separability(stats)) == pytest.approx(apart[~np.eye(K, dtype=bool)].mean())
    np.testing.assert_allclose(class_separabilities(stats), apart.sum(axis=1) / (K - 1), rtol=1e-9)


def test_simplex_means_are_as_far_apart_as_any_can_be():
    W = build("simplex", K, D, dtype=torch.float64)
    stats = class_statistics(W, torch.arange(K), K, pooled=False)
    assert float(separability(stats)) == pytest.approx(1 + 1 / (K - 1))
    one = class_statistics(W[:1], torch.zeros(1, dtype=torch.int64), K, pooled=False)
    assert math.isnan(separability(one))


def test_vectors_or_predictions_that_do_not_fit_are_refused(case):
    features, vectors, labels, predictions = case
    with pytest.raises(RequestError, match=r"vectors \(K, d\) = \(5, 7\)"):
        update_compactness_(empty_compactness(K), features, vectors[1:], labels, predictions)
    with pytest.raises(RequestError, match="labels in 0 … 4"):
        update_compactness_(empty_compactness(K), features, vectors, labels, predictions + 5)

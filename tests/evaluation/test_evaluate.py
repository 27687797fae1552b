import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics
from torch import nn

from fixhead import ClassificationHead
from fixhead.evaluation import accuracies, describe_geometry, evaluate_model
from fixhead.geometry import accuracy, class_cosines

K, D, N = 5, 8, 203


class Plain(nn.Module):
    """Features are the images themselves."""

    def __init__(self):
        super().__init__()
        self.head = ClassificationHead(D, K, vectors="random", scale=4.0)
        self.norm = nn.BatchNorm1d(D)

    def features(self, images):
        return self.norm(images)


class Batched:
    def __init__(self, images, labels, size):
        self.parts = list(zip(images.split(size), labels.split(size), strict=True))

    def epoch(self, number):
        return iter(self.parts)


def sample():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(N, D, generator=generator)
    return images, torch.randint(K, (N,), generator=generator)


@pytest.fixture(scope="module")
def evaluated():
    model, (images, labels) = Plain(), sample()
    return model, images, labels, evaluate_model(model, Batched(images, labels, 32), classes=K)


def test_accuracy_f1_and_confusion_agree_with_scikit_learn(evaluated):
    model, images, labels, found = evaluated
    with torch.no_grad():
        predictions = model.eval().head(model.features(images)).argmax(dim=1)
    M = found.confusion
    assert np.array_equal(M.numpy(), metrics.confusion_matrix(labels, predictions))
    told = accuracies(found)
    assert told["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predictions))
    assert told["balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy_score(labels, predictions)
    )
    assert told["macro_f1"] == pytest.approx(metrics.f1_score(labels, predictions, average="macro"))


def test_the_loss_is_the_mean_over_images_not_over_batches(evaluated):
    model, images, labels, found = evaluated
    with torch.no_grad():
        expected = model.eval().head.loss(model.features(images), labels).item()
    assert found.loss == pytest.approx(expected, rel=1e-5)


def test_compactness_and_separability_agree_with_a_plain_loop(evaluated):
    model, images, labels, found = evaluated
    with torch.no_grad():
        x = model.eval().features(images).double().numpy()
    W = model.head.vectors.double().numpy()
    own = [x[i] @ W[y] / np.linalg.norm(x[i]) / np.linalg.norm(W[y]) for i, y in enumerate(labels)]
    means = [x[labels.numpy() == c].mean(axis=0) for c in range(K)]
    apart = [
        means[i] @ means[j] / np.linalg.norm(means[i]) / np.linalg.norm(means[j])
        for i in range(K)
        for j in range(i)
    ]
    told = describe_geometry(found, model.head.vectors, construction="random", scale=4.0)
    assert told["own_cosine"]["mean"] == pytest.approx(np.mean(own), abs=1e-5)
    assert sum(told["own_cosine"]["counts"]) == N
    counts, _ = np.histogram(own, bins=told["own_cosine"]["edges"])
    assert np.abs(counts - np.array(told["own_cosine"]["counts"])).sum() <= 2  # on an edge
    assert told["other_cosine"]["mean"] == pytest.approx(np.mean(apart), abs=1e-5)
    assert told["feature_norm"]["mean"] == pytest.approx(np.linalg.norm(x, axis=1).mean(), rel=1e-5)
    assert told["feature_norm"]["std"] == pytest.approx(np.linalg.norm(x, axis=1).std(), rel=1e-4)


def test_batches_of_any_size_give_the_same_sums(evaluated):
    model, images, labels, found = evaluated
    whole = evaluate_model(model, Batched(images, labels, N), classes=K)
    assert torch.equal(whole.confusion, found.confusion)
    torch.testing.assert_close(whole.feature_sums, found.feature_sums, atol=1e-4, rtol=1e-5)


def test_evaluation_leaves_the_mode_of_the_model_as_it_was():
    model, (images, labels) = Plain().train(), sample()
    before = model.norm.running_mean.clone()
    evaluate_model(model, Batched(images, labels, 64), classes=K)
    assert model.training
    assert torch.equal(model.norm.running_mean, before)


def test_a_class_without_images_is_left_out_of_the_balanced_accuracy():
    M = torch.tensor([[3, 1, 0], [0, 0, 0], [0, 2, 2]])
    counts = accuracy.class_counts_of(M)
    assert float(accuracy.balanced_accuracy(counts)) == pytest.approx((0.75 + 0.5) / 2)
    assert math.isnan(accuracy.class_accuracies(counts)[1])


def test_confusions_are_held_against_cosines_as_scipy_ranks_them(evaluated):
    model, _, _, found = evaluated
    told = describe_geometry(found, model.head.vectors, construction="random", scale=4.0)
    C = class_cosines.cosine_matrix(model.head.vectors)
    pairs = [(i, j) for i in range(K) for j in range(K) if i != j]
    expected = stats.spearmanr(
        [C[i, j] for i, j in pairs], [found.confusion[i, j] for i, j in pairs]
    )
    assert told["spearman"]["rho"] == pytest.approx(float(expected.statistic))
    assert told["spearman"].keys() == {"rho", "low", "high", "n", "reason"}
    assert told["spearman"]["n"] == K * (K - 1)


def test_confusions_have_no_correlation_with_the_cosines_of_a_simplex(evaluated):
    _, _, _, found = evaluated
    W = ClassificationHead(D, K, vectors="simplex").vectors
    told = describe_geometry(found, W, construction="simplex", scale=1.0)
    assert told["spearman"]["rho"] is None
    assert "same cosine" in told["spearman"]["reason"]

import math

import numpy as np
import pytest
import torch
from scipy.spatial import distance

from fixhead import ClassificationHead, RequestError
from fixhead.geometry.nearest import (
    agreement_counts,
    class_nearest_mean_agreement,
    decided,
    nearest_mean_agreement,
    nearest_means,
)
from fixhead.geometry.statistics import ClassStatistics, class_statistics
from fixhead.logits import unit

K, D, N = 6, 8, 300


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sample():
    labels = torch.randint(K, (N,), generator=torch.Generator().manual_seed(1))
    return draw(K, D)[labels] + draw(N, D, seed=2), labels


def test_the_nearest_mean_is_scipys():
    features, labels = sample()
    stats = class_statistics(features, labels, K)
    expected = distance.cdist(features.double(), stats.means).argmin(axis=1)
    assert np.array_equal(nearest_means(features, stats), expected)
    assert np.array_equal(nearest_means(features.double(), stats), expected)


def test_a_large_offset_does_not_blur_the_nearest_mean():
    features, labels = sample()
    far = (features + 1e3).float()
    stats = class_statistics(far, labels, K)
    expected = distance.cdist(far.double(), stats.means).argmin(axis=1)
    assert np.array_equal(nearest_means(far, stats), expected)


def test_a_class_without_features_is_nobodys_nearest():
    features, labels = sample()
    stats = class_statistics(100 + features, torch.where(labels == 2, 3, labels), K)
    assert not (nearest_means(features, stats) == 2).any()  # although its row, 0, is nearest


def test_many_rows_go_through_in_parts(monkeypatch):
    from fixhead.geometry import nearest

    features, labels = sample()
    stats = class_statistics(features, labels, K)
    whole = nearest_means(features, stats)
    monkeypatch.setattr(nearest, "_ROWS", 7)
    assert torch.equal(nearest_means(features, stats), whole)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_features_are_compared_in_float32_under_autocast_too(dtype):
    features, labels = sample()
    stats = class_statistics(features.to(dtype), labels, K)
    expected = nearest_means(features.to(dtype).double(), stats)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nearest_means(features.to(dtype), stats), expected)


def test_agreement_uses_the_heads_own_logits_with_bias_and_scale():
    features, labels = sample()
    stats = class_statistics(features, labels, K)
    head = ClassificationHead(D, K, vectors="random", logits="dot", scale=2.0, bias=True)
    torch.nn.init.normal_(head.bias, std=3.0, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = head(features)
    nearest = nearest_means(features, stats)
    counts = agreement_counts(logits, nearest, labels, K)
    W, b = head.vectors.double().numpy(), head.bias.detach().double().numpy()
    decisions = (2 * features.double().numpy() @ W.T + b).argmax(axis=1)
    same = decisions == nearest.numpy()
    assert float(nearest_mean_agreement(counts)) == pytest.approx(same.mean())
    without = (features.double().numpy() @ W.T).argmax(axis=1) == nearest.numpy()
    assert without.mean() != same.mean()  # the bias is seen
    for c in range(K):
        assert float(class_nearest_mean_agreement(counts)[c]) == pytest.approx(
            same[labels == c].mean()
        )


def test_a_nearest_mean_head_agrees_everywhere():
    # argmin ‖x − μ‖² is argmax ⟨μ, x⟩ − ‖μ‖²/2: a dot head with that bias is the same rule.
    features, labels = sample()
    stats = class_statistics(features, labels, K)
    logits = features.double() @ stats.means.T - stats.means.square().sum(dim=1) / 2
    counts = agreement_counts(logits, nearest_means(features, stats), labels, K)
    assert float(nearest_mean_agreement(counts)) == 1.0


def test_a_cosine_head_agrees_in_the_space_of_directions_that_it_looks_at():
    labels = torch.arange(K).repeat(20)
    W = unit(draw(K, D))
    lengths = torch.rand(20 * K, 1, generator=torch.Generator().manual_seed(3)) ** 4 * 50 + 0.01
    features = lengths * (W[labels] + 0.02 * draw(20 * K, D, seed=5))
    head = ClassificationHead(D, K, vectors=W, logits="cosine", scale=1.0)
    directions = unit(features)
    seen = class_statistics(directions, labels, K)
    plain = class_statistics(features, labels, K)
    counts = agreement_counts(head(features), nearest_means(directions, seen), labels, K)
    blurred = agreement_counts(head(features), nearest_means(features, plain), labels, K)
    assert float(nearest_mean_agreement(counts)) == 1.0
    assert float(nearest_mean_agreement(blurred)) < 0.9


def test_counts_of_batches_add_up():
    features, labels = sample()
    stats = class_statistics(features, labels, K)
    logits, nearest = draw(N, K, seed=7), nearest_means(features, stats)
    whole = agreement_counts(logits, nearest, labels, K)
    parts = [
        agreement_counts(*batch, K)
        for batch in zip(logits.split(37), nearest.split(37), labels.split(37), strict=True)
    ]
    assert torch.equal(torch.stack(parts).sum(dim=0), whole)
    assert float(nearest_mean_agreement(whole)) == pytest.approx(1 / K, abs=0.1)


def test_a_class_without_images_has_no_agreement():
    counts = torch.tensor([[4, 0], [3, 0]])
    assert float(nearest_mean_agreement(counts)) == 0.75
    assert math.isnan(class_nearest_mean_agreement(counts)[1])


def test_decisions_may_come_as_labels():
    assert decided("f", torch.tensor([2, 0]), K).tolist() == [2, 0]
    with pytest.raises(RequestError, match="labels in 0 … 5"):
        decided("f", torch.tensor([K]), K)
    with pytest.raises(RequestError, match=r"logits \(N, 6\)"):
        decided("f", torch.zeros(3, K + 1), K)


def test_means_of_nothing_and_features_of_another_size_are_refused():
    with pytest.raises(RequestError, match="at least one feature, got none"):
        nearest_means(draw(3, D), ClassStatistics.empty(K, D))
    with pytest.raises(RequestError, match=r"features \(N, 8\), got \(3, 9\)"):
        nearest_means(draw(3, D + 1), class_statistics(*sample(), K))

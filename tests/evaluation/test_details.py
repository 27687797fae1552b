"""Detail against the metrics' functions on all features at once, in float64."""

import math

import pytest
import torch
from torch import nn

from fixhead import ClassificationHead, certify
from fixhead.evaluation import (
    describe_areas,
    describe_calibration,
    describe_collapse,
    describe_compactness,
    examine,
    hits,
    never_predicted,
)
from fixhead.evaluation.outputs import plain

K, D, N = 5, 8, 203


class Plain(nn.Module):
    """Features are the images themselves."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def features(self, images):
        return images


class Batched:
    def __init__(self, images, labels, size):
        self.parts = list(zip(images.split(size), labels.split(size), strict=True))

    def epoch(self, number):
        return iter(self.parts)


def sample():
    draws = torch.Generator().manual_seed(0)
    labels = torch.randint(K, (N,), generator=draws)
    return torch.randn(N, D, generator=draws) + 2 * torch.eye(K, D)[labels], labels


def by_hand(x, labels):
    """Class means, tr Σ_W / tr Σ_B (Σ_W over images, Σ_B over classes), and centred means."""
    means = torch.stack([x[labels == c].mean(0) for c in range(K)])
    within = (x - means[labels]).square().sum(1)
    centred = means - means.mean(0)
    return means, within.mean() / centred.square().sum(1).mean(), centred


@pytest.mark.parametrize(("logits", "of"), [("dot", "features"), ("cosine", "directions")])
def test_collapse_agrees_with_its_definition_on_what_the_head_sees(logits, of):
    images, labels = sample()
    head = ClassificationHead(D, K, vectors="random", logits=logits, scale=1.0)
    found = describe_collapse(examine(Plain(head), Batched(images, labels, 32), classes=K))
    x = images.double()
    x = x if logits == "dot" else x / x.norm(dim=1, keepdim=True)
    means, ratio, centred = by_hand(x, labels)
    W = head.vectors.double()
    cosines = (means * W).sum(1) / means.norm(dim=1) / W.norm(dim=1)
    distances = torch.cdist(x, means)
    agreement = (distances.argmin(1) == (x @ W.T).argmax(1)).double().mean()
    assert found["of"] == of
    assert found["trace_ratio"] == pytest.approx(float(ratio), rel=1e-5)
    assert found["alignment"] == pytest.approx(float(cosines.mean()), abs=1e-5)
    lengths = centred.norm(dim=1)
    assert found["equinorm"] == pytest.approx(
        float(lengths.std(correction=0) / lengths.mean()), rel=1e-4
    )
    assert found["nearest_mean_agreement"] == pytest.approx(float(agreement), abs=1.01 / N)


def test_perfect_collapse_onto_a_simplex_gives_the_exact_values():
    head = ClassificationHead(D, K, vectors="simplex", scale=8.0)
    labels = torch.arange(K).repeat(4)
    detail = examine(Plain(head), Batched(head.vectors[labels] * 3, labels, 7), classes=K)
    found = describe_collapse(detail)
    for name in ("nc1", "trace_ratio", "cdnv", "equinorm", "self_duality", "gram_distance"):
        assert found[name] == pytest.approx(0, abs=1e-5), name
    assert found["equiangularity_deviation"] == pytest.approx(0, abs=1e-5)
    assert found["alignment"] == pytest.approx(1, abs=1e-6)
    assert found["nearest_mean_agreement"] == 1
    told = describe_compactness(detail)
    assert told["own"] == pytest.approx(1, abs=1e-6)
    assert told["own_wrong"] is None
    assert told["norm"] == pytest.approx(3, rel=1e-6)
    assert told["separability"] == pytest.approx(1 + 1 / (K - 1), rel=1e-6)
    assert certify(head.vectors).cosine_max == pytest.approx(-1 / (K - 1), abs=1e-6)


def test_batches_of_any_size_give_the_same_detail():
    images, labels = sample()
    head = ClassificationHead(D, K, vectors="random", scale=4.0)
    one, other = (
        describe_collapse(examine(Plain(head), Batched(images, labels, size), classes=K))
        for size in (N, 10)
    )
    for name in one.keys() - {"of"}:
        assert one[name] == pytest.approx(other[name], rel=1e-5, abs=1e-6), name


def test_hits_keep_the_order_of_the_images():
    images, labels = sample()
    head = ClassificationHead(D, K, vectors="random", scale=4.0)
    model = Plain(head).train()
    expected = head(images).argmax(1) == labels
    assert torch.equal(hits(model, Batched(images, labels, 13)), expected)
    assert torch.equal(examine(model, Batched(images, labels, 13), classes=K).right, expected)
    assert model.training


def test_calibration_of_a_sure_and_wrong_head_is_its_confidence():
    head = ClassificationHead(2, 2, vectors=torch.eye(2), logits="dot", scale=1.0)
    images, labels = torch.tensor([[3.0, 0.0]] * 6), torch.ones(6, dtype=torch.int64)
    found = describe_calibration(examine(Plain(head), Batched(images, labels, 4), classes=2))
    assert found["expected_error"] == pytest.approx(1 / (1 + math.exp(-3)), rel=1e-6)
    assert found["accuracy"].count(None) == found["bins"] - 1


def test_a_class_that_is_never_predicted_is_named():
    head = ClassificationHead(2, 3, vectors=torch.tensor([[1.0, 0], [0, 1], [0.5, 0.5]]),
                              logits="dot", scale=1.0)  # fmt: skip
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.9]])
    detail = examine(Plain(head), Batched(images, torch.arange(3), 2), classes=3)
    assert never_predicted(detail, ["cat", "dog", "fox"]) == ["fox"]
    areas = describe_areas(head.vectors, "dot", bias=False, names=["cat", "dog", "fox"])
    assert areas["vanished"] == ["fox"]
    assert sum(areas["shares"]) == pytest.approx(1)


def test_areas_are_for_two_dimensions_without_a_bias():
    assert describe_areas(torch.eye(3), "cosine", bias=False, names="abc") is None
    assert "bias" in describe_areas(torch.eye(2), "dot", bias=True, names="ab")["reason"]
    halves = describe_areas(torch.tensor([[1.0, 0], [-2.0, 0]]), "cosine", bias=False, names="ab")
    assert halves["shares"] == pytest.approx([0.5, 0.5])


def test_what_json_cannot_hold_becomes_none():
    assert plain(torch.tensor([[1.0, math.nan], [math.inf, 0.5]])) == [[1.0, None], [None, 0.5]]
    assert plain(torch.tensor(math.nan)) is None

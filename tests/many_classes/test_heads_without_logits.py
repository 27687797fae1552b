"""``ClassificationHead`` gives one answer, whichever path it takes."""

import pytest
import torch
from agreement import relative

from fixhead import ClassificationHead
from fixhead import many_classes as scale
from fixhead.many_classes import vectors

HEADS = [
    {},
    {"logits": "dot", "scale": 1.0, "vectors": "random"},
    {"logits": "unit-features", "scale": "learned:3", "vectors": "random", "bias": True},
    {"scale": "learned:4"},
    {"learn_vectors": True, "scale": 9.0},
    {"learn_vectors": True, "logits": "dot", "scale": 1.0, "bias": True, "neck": "linear:40"},
    {"loss": "cross-entropy:0.1", "neck": "batchnorm"},
    {"loss": "cosface"},
    {"loss": "arcface:0.3"},
    {"loss": "normface"},
    {"loss": "balanced-softmax", "class_counts": list(range(1, 31))},
    {"loss": "logit-adjustment:1.5", "class_counts": list(range(1, 31)), "reweight": 1},
]


def both(monkeypatch, ask):
    """What ``ask`` says where every batch counts as small, and where every one as large."""
    answers = []
    for limit in (1 << 60, 0):
        monkeypatch.setattr(vectors, "MANY_LOGITS", {"cpu": limit})
        answers.append(ask())
    return answers


@pytest.mark.parametrize("switches", HEADS, ids=str)
def test_loss_and_gradients_are_the_same_with_and_without_logits(monkeypatch, switches):
    head = ClassificationHead(32, 30, **switches)
    head.begin_epoch(2)
    x = torch.randn(7, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()
    labels = torch.tensor([0, 29, 4, 4, 7, 12, 1])
    leaves = [x, *head.parameters()]

    def ask():
        loss = head.loss(x, labels)
        return loss, torch.autograd.grad(loss, leaves)

    (plain, exact), (large, found) = both(monkeypatch, ask)
    assert relative(large, plain) < 1e-6
    for ours, theirs in zip(found, exact, strict=True):
        assert relative(ours, theirs) < 3e-6 or float((ours - theirs).abs().max()) < 1e-7


@pytest.mark.parametrize("switches", HEADS + [{"loss": "dot-regression"}], ids=str)
def test_what_a_step_asks_is_the_same_with_and_without_logits(monkeypatch, switches):
    head = ClassificationHead(32, 30, **switches)
    head.begin_epoch(2)
    x = torch.randn(7, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()
    logits = head(x)
    labels = logits.argmax(dim=1)
    labels[2:4] = (labels[2:4] + 1) % 30
    labels[6] = -100
    hits = torch.tensor([True, True, False, False, True, True, False])

    def ask():
        loss, right = head.loss_and_hits(x, labels)
        assert torch.equal(right, hits)
        return loss, torch.autograd.grad(loss, x)[0]

    (plain, exact), (large, found) = both(monkeypatch, ask)
    assert relative(large, plain) < 1e-6
    assert relative(large, head.loss(x, labels)) < 1e-6
    assert relative(found, exact) < 3e-6


def test_hits_of_probabilities_are_those_of_the_largest_one(monkeypatch):
    head = ClassificationHead(32, 30, scale=9.0)
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    shares = torch.nn.functional.one_hot(head(x).argmax(dim=1), 30).float()
    shares[0] = shares[0].roll(1)
    for _, right in both(monkeypatch, lambda: head.loss_and_hits(x, 0.9 * shares + 0.1 / 30)):
        assert right.tolist() == [False, True, True]


def test_a_neck_sees_the_features_of_a_step_once(monkeypatch):
    head = ClassificationHead(32, 30, neck="batchnorm", scale=9.0)
    monkeypatch.setattr(vectors, "MANY_LOGITS", {"cpu": 0})
    head.loss_and_hits(torch.randn(7, 32), torch.arange(7))
    assert int(head.neck.num_batches_tracked) == 1


@pytest.mark.parametrize("switches", HEADS[:6], ids=str)
def test_top_classes_are_the_same_with_and_without_logits(monkeypatch, switches):
    head = ClassificationHead(32, 30, **switches).eval()
    x = torch.randn(7, 32, generator=torch.Generator().manual_seed(1))
    for ask in (head.topk, head.predict_proba):
        plain, large = both(monkeypatch, lambda ask=ask: ask(x, 3))
        assert torch.equal(plain.classes, large.classes)
        assert relative(large.values, plain.values) < 1e-6


def test_large_batches_hold_no_logits(monkeypatch):
    head = ClassificationHead(16, 1 << 15, vectors="random", scale=8.0)
    monkeypatch.setattr(ClassificationHead, "classify", None)
    monkeypatch.setattr(ClassificationHead, "_logits", None)
    x = torch.randn(128, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert scale.prefers_chunking(128, 1 << 15, x.device)
    head.loss(x, torch.arange(128)).backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    "spec", ["vectors=implicit,scale=8", "vectors=quantised:4,learn=yes,scale=8"]
)
def test_a_training_step_over_vectors_that_are_not_stored_holds_no_logits(monkeypatch, spec):
    head = ClassificationHead.from_preset(spec, 16, 1 << 15)
    monkeypatch.setattr(ClassificationHead, "_logits", None)
    x = torch.randn(128, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    loss, right = head.loss_and_hits(x, torch.arange(128))
    loss.backward()
    assert x.grad.isfinite().all()
    assert torch.equal(right, head.topk(x, 1).classes[:, 0] == torch.arange(128))


def test_the_length_of_fixed_vectors_is_measured_once_and_after_every_change():
    head = ClassificationHead(16, 30, vectors="random", logits="dot", scale=1.0)
    assert head.class_vectors.norm == pytest.approx(1.0)
    head.vectors.mul_(3.0)
    assert head.class_vectors.norm == pytest.approx(3.0)

"""A batch of which no row counts: the loss is 0, and so are all its gradients."""

import pytest
import torch

from fixhead import ClassificationHead, RequestError
from fixhead.heads.loss import goes_without_logits, parse_loss
from fixhead.losses import IGNORE_INDEX, LOSSES

D, K = 32, 40
COUNTS = [*range(1, K + 1)]
COSINE = {"vectors": "random", "scale": 9.0}
HEADS = {
    "frozen cosine": COSINE,
    "learned cosine": {**COSINE, "learn_vectors": True, "scale": "learned"},
    "learned dot": {"vectors": "linear", "logits": "dot", "scale": 1, "bias": True,
                    "learn_vectors": True},
    "Hoffer's": {"vectors": "hoffer-projection", "logits": "unit-features", "scale": "learned"},
    "implicit": {**COSINE, "vectors": "implicit"},
    "implicit, with a bias": {**COSINE, "vectors": "implicit", "bias": True},
    "behind a map": {**COSINE, "vectors": "codes", "code_width": 64},
    "behind a neck": {**COSINE, "neck": "mlp"},
    "re-weighted": {**COSINE, "reweight": 1, "class_counts": COUNTS},
}  # fmt: skip
NONE_COUNTS = {"empty": (0, None), "all ignored": (6, IGNORE_INDEX)}


def batch(kind, dtype=torch.float32):
    rows, label = NONE_COUNTS[kind]
    x = torch.randn(rows, D, generator=torch.Generator().manual_seed(0)).to(dtype)
    return x.requires_grad_(), torch.full((rows,), label or 0, dtype=torch.int64)


def assert_nothing_to_learn(head, x, labels):
    loss = head.loss(x, labels)
    assert loss.shape == ()
    assert float(loss.detach()) == 0
    loss.backward()
    assert not bool(x.grad.any())
    for parameter in head.parameters():
        assert parameter.grad is None or not bool(parameter.grad.any())  # NaN counts as any


@pytest.mark.parametrize("kind", NONE_COUNTS)
@pytest.mark.parametrize("name", HEADS)
def test_the_loss_is_zero_for_every_head(name, kind):
    head = ClassificationHead(D, K, **HEADS[name])
    head.begin_epoch(1)
    assert_nothing_to_learn(head, *batch(kind))


@pytest.mark.parametrize("kind", NONE_COUNTS)
@pytest.mark.parametrize("vectors", ["random", "implicit"])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_zero_for_every_loss(loss, vectors, kind):
    if vectors == "implicit" and not goes_without_logits(parse_loss(loss)):
        pytest.skip("this loss needs all logits")
    head = ClassificationHead(D, K, vectors=vectors, scale=9.0, loss=loss, class_counts=COUNTS)
    assert_nothing_to_learn(head, *batch(kind))


@pytest.mark.parametrize("kind", NONE_COUNTS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["frozen cosine", "learned dot", "implicit"])
def test_the_loss_is_zero_in_half_precision_too(name, dtype, kind):
    head = ClassificationHead(D, K, **HEADS[name])
    with torch.autocast("cpu", dtype=dtype):
        assert_nothing_to_learn(head, *batch(kind))
    assert_nothing_to_learn(head.to(dtype), *batch(kind, dtype))


@pytest.mark.parametrize("kind", NONE_COUNTS)
def test_the_loss_is_zero_where_values_cannot_be_looked_at(kind):
    head = ClassificationHead(D, K, **HEADS["learned dot"])
    x, labels = batch(kind)
    compiled = torch.compile(head.loss, fullgraph=True, backend="aot_eager")
    assert float(compiled(x, labels).detach()) == 0
    grad = torch.func.grad(lambda features: head.loss(features, labels))(x.detach())
    assert not bool(grad.any())


def test_a_loss_that_is_nan_for_its_features_stays_nan():
    head = ClassificationHead(D, K, **HEADS["learned dot"])
    x = torch.full((2, D), torch.nan)
    assert bool(head.loss(x, torch.tensor([0, 1])).isnan())
    compiled = torch.compile(head.loss, fullgraph=True, backend="aot_eager")
    assert bool(compiled(x, torch.tensor([0, 1])).isnan())


@pytest.mark.parametrize("labels", [[0, 1], (0, 1), 3, None])
@pytest.mark.parametrize("vectors", ["random", "implicit"])
def test_labels_that_are_no_tensor_are_refused(vectors, labels):
    head = ClassificationHead(D, K, vectors=vectors, scale=9.0)
    with pytest.raises(RequestError, match="labels must be a tensor of integers"):
        head.loss(torch.randn(2, D), labels)
    with pytest.raises(RequestError, match="labels must be a tensor of integers"):
        head.loss_and_logits(torch.randn(2, D), labels)

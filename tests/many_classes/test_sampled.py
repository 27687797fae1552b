import pytest
import torch
from agreement import relative

from fixhead import RequestError, losses
from fixhead import many_classes as scale


def test_all_classes_of_the_batch_are_drawn_and_as_many_others_as_asked():
    labels = torch.tensor([7, 3, -100, 7, 99])
    drawn = scale.sample_classes(labels, 100, rate=0.2, generator=torch.Generator().manual_seed(1))
    assert len(drawn.classes) == 20
    assert torch.equal(drawn.classes, drawn.classes.unique())
    counted = labels >= 0
    assert torch.equal(drawn.classes[drawn.labels[counted]], labels[counted])
    assert int(drawn.labels[2]) == -100


def test_others_are_drawn_evenly():
    generator = torch.Generator().manual_seed(2)
    hits = torch.zeros(50)
    for _ in range(2000):
        hits[
            scale.sample_classes(torch.tensor([0]), 50, rate=0.2, generator=generator).classes
        ] += 1
    assert float(hits[0]) == 2000
    expected = 2000 * 9 / 49
    assert float(((hits[1:] - expected).square() / expected).sum()) < 85  # χ² of 48, p < 0.001


def test_the_loss_and_its_gradients_are_those_of_the_drawn_classes():
    W = torch.randn(200, 16, generator=torch.Generator().manual_seed(3)).requires_grad_()
    x = torch.randn(6, 16, generator=torch.Generator().manual_seed(4))
    labels = torch.tensor([5, 6, 7, 8, 9, 199])
    drawn = scale.sample_classes(labels, 200, generator=torch.Generator().manual_seed(5))
    loss = scale.sampled_cross_entropy(x, W, labels, generator=torch.Generator().manual_seed(5))
    true = losses.cross_entropy(x @ W[drawn.classes].T, drawn.labels)
    assert relative(loss, true) < 1e-6
    (found,), (exact,) = torch.autograd.grad(loss, W), torch.autograd.grad(true, W)
    assert relative(found, exact) < 1e-6
    undrawn = torch.ones(200, dtype=torch.bool).index_fill(0, drawn.classes, False)
    assert not found[undrawn].any()


def test_a_rate_of_one_is_the_exact_loss():
    W, x, labels = torch.randn(50, 16), torch.randn(6, 16), torch.arange(6)
    found = scale.sampled_cross_entropy(x, W, labels, rate=1.0, logits="cosine", scale=9.0)
    assert (
        relative(found, scale.linear_cross_entropy(x, W, labels, logits="cosine", scale=9.0)) < 1e-6
    )


def test_what_cannot_be_sampled_is_refused():
    W, x, labels = torch.randn(50, 16), torch.randn(6, 16), torch.arange(6)
    with pytest.raises(RequestError, match="rate must be"):
        scale.sampled_cross_entropy(x, W, labels, rate=0.0)
    with pytest.raises(RequestError, match="takes no weight"):
        scale.sampled_cross_entropy(x, W, labels, weight=torch.ones(50))
    with pytest.raises(RequestError, match="label 77 at position 0"):
        scale.sample_classes(torch.tensor([77]), 50)

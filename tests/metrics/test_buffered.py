import pytest
import torch

from fixhead import RequestError, metrics

K, D, N = 4, 6, 95


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


W = draw(K, D)
Y = torch.randint(K, (N,), generator=torch.Generator().manual_seed(1))
X = W[Y] + draw(N, D, seed=2)
INPUTS = {"features": X, "logits": X @ W.T, "labels": Y}


class Spy(metrics.BalancedAccuracy):
    """Remembers how many rows each update had."""

    def __init__(self, classes):
        super().__init__(classes)
        self.sizes = []

    def update(self, logits, labels):
        self.sizes.append(len(labels))
        super().update(logits, labels)


def feed(metric, size=10):
    for batch in zip(*(values.split(size) for values in INPUTS.values()), strict=True):
        metric.update(**dict(zip(INPUTS, batch, strict=True)))


@pytest.mark.parametrize("rows", [1, 25, 1_000])
def test_values_are_those_without_a_buffer(rows):
    plain = metrics.last_layer_metrics(K, D, W)
    buffered = metrics.Buffered(metrics.last_layer_metrics(K, D, W), rows)
    for _ in range(2):  # again after a reset
        feed(plain)
        feed(buffered)
        torch.testing.assert_close(buffered.compute(), plain.compute(), rtol=1e-10, atol=1e-12)
        plain.reset()
        buffered.reset()


def test_batches_are_passed_on_together_and_the_last_ones_when_a_value_is_asked_for():
    spy = Spy(K)
    metric = metrics.Buffered(spy, rows=25)
    for logits, labels in zip(INPUTS["logits"].split(10), Y.split(10), strict=True):
        metric.update(logits=logits, labels=labels)
    assert spy.sizes == [30, 30, 30]
    metric.compute()
    assert spy.sizes == [30, 30, 30, 5]


def test_a_reset_forgets_what_is_held():
    metric = metrics.Buffered(Spy(K), rows=1_000)
    metric.update(logits=INPUTS["logits"], labels=Y)
    metric.reset()
    metric.update(logits=Y[:3], labels=Y[:3])
    assert float(metric.compute()) == 1.0


def test_held_batches_keep_no_graph():
    features = X.clone().requires_grad_()
    metric = metrics.Buffered(metrics.CDNV(K, D), rows=1_000)
    metric.update(features=2 * features, labels=Y)
    assert not metric._held[0]["features"].requires_grad


def test_a_buffer_of_no_rows_is_refused():
    with pytest.raises(RequestError, match="rows >= 1, got 0"):
        metrics.Buffered(metrics.MacroF1(K), 0)

import pytest
import torch
from agreement import relative

from fixhead import RequestError
from fixhead import many_classes as scale


def plain(x, W, labels, S=1.0):
    targets = torch.nn.functional.one_hot(labels, len(W))
    return (S * x @ W.T - targets).square().sum(dim=1).mean()


def made(classes, features, **options):
    return scale.implicit(classes, features, generator=torch.Generator().manual_seed(5), **options)


@pytest.mark.parametrize(
    ("classes", "features"),
    [(64, 32), (96, 32), (100, 32), (1000, 32), (141, 16), (700, 48), (11, 16), (50, 8)],
)
def test_squared_error_equals_the_sum_over_all_classes(classes, features):
    vectors = made(classes, features)
    W = vectors.dense().double()
    x = torch.randn(9, features, generator=torch.Generator().manual_seed(6))
    labels = torch.randint(classes, (9,), generator=torch.Generator().manual_seed(7))
    for given in (vectors, vectors.dense()):
        point, exact = x.clone().requires_grad_(), x.double().requires_grad_()
        loss = scale.squared_error(point, given, labels, scale=1.5)
        true = plain(exact, W, labels, 1.5)
        assert relative(loss, true) < 1e-6
        ours = torch.autograd.grad(loss, point)[0]
        assert relative(ours, torch.autograd.grad(true, exact)[0]) < 1e-6


def test_a_gram_matrix_can_be_given():
    W = torch.randn(300, 12, generator=torch.Generator().manual_seed(8))
    x, labels = torch.randn(4, 12), torch.arange(4)
    gram = scale.gram_matrix(W)
    assert relative(gram, W.double().T @ W.double()) < 1e-6
    found = scale.squared_error(x, W, labels, gram=gram)
    assert relative(found, plain(x.double(), W.double(), labels)) < 1e-5
    with pytest.raises(RequestError, match=r"gram must be \(d, d\) = \(12, 12\)"):
        scale.squared_error(x, W, labels, gram=gram[1:])


def test_ignored_rows_do_not_count():
    vectors = made(100, 32)
    x, labels = torch.randn(4, 32), torch.tensor([1, -100, 5, -100])
    found = scale.squared_error(x, vectors, labels)
    assert relative(found, plain(x[::2], vectors.dense(), labels[::2])) < 1e-5

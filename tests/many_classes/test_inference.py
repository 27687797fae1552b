import pytest
import torch
from agreement import relative
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead import RequestError
from fixhead import many_classes as scale


def kinds(classes=700, features=32):
    rows = torch.randn(classes, features, generator=torch.Generator().manual_seed(2))
    yield rows, rows
    for family in ("auto", "random"):
        made = scale.implicit(classes, features, family=family)
        yield made, made.dense()
    made = scale.implicit(classes, features - 5)
    yield made, made.dense()


def points(rows, features):
    return torch.randn(rows, features, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("k", [1, 2, 5, 700])
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_topk_finds_the_largest_logits_and_their_classes(k, rows):
    for made, W in kinds():
        x = points(rows, W.shape[1])
        bias = torch.randn(len(W), generator=torch.Generator().manual_seed(4))
        found = scale.topk(x, made, k, scale=2.0, bias=bias)
        z = 2 * x.double() @ W.double().T + bias
        assert relative(found.values, z.topk(k).values) < 1e-6
        # Which class, where logits differ by less than rounding, is anybody's choice.
        assert relative(z.gather(1, found.classes), z.topk(k).values) < 1e-6
        assert all(len(row.unique()) == k for row in found.classes)


def test_classes_of_the_one_hot_block_are_found():
    made = scale.implicit(141, 16, family="kerdock")
    W = made.dense()
    found = scale.topk(W, made, 1, logits="cosine")
    assert torch.equal(found.classes[:, 0], torch.arange(141))
    assert relative(found.values, torch.ones(141, 1)) < 1e-6


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 400), st.integers(1, 9), st.integers(0, 99))
def test_every_class_is_nearest_to_its_own_vector(classes, rows, seed):
    made = scale.implicit(classes, 32, generator=torch.Generator().manual_seed(seed))
    labels = torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(scale.topk(made.rows(labels), made).classes[:, 0], labels)


@pytest.mark.parametrize("length", [0.1, 1.0, 300.0])
def test_predicted_probabilities_are_softmax_over_all_classes(length):
    for made, W in kinds():
        x = length * points(6, W.shape[1])
        true = torch.softmax(x.double() @ W.double().T, dim=1).topk(3)
        near = torch.softmax(x @ W.T, dim=1).topk(3)
        found = scale.predict_proba(x, made, 3)
        allowed = relative(near.values, true.values) + 1e-6
        assert relative(found.values, true.values) <= allowed


def test_a_margin_is_the_gap_between_the_two_largest_logits():
    for made, W in kinds():
        x = points(6, W.shape[1])
        top = (x.double() @ W.double().T).topk(2).values
        assert relative(scale.margins(x, made), top[:, 0] - top[:, 1]) < 1e-5


def test_an_impossible_k_is_refused():
    made = scale.implicit(50, 32)
    for k in (0, 51, True, 1.5):
        with pytest.raises(RequestError, match="from 1 to K = 50"):
            scale.topk(torch.randn(2, 32), made, k)

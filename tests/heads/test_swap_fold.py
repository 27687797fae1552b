import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fixhead import ClassificationHead, RequestError


def rows(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=20)
@given(
    features=st.integers(2, 40),
    classes=st.integers(2, 12),
    scale=st.sampled_from([1.0, 0.5, 20.0, "learned"]),
    bias=st.booleans(),
    neck=st.sampled_from(["none", "linear", "linear:7", "batchnorm"]),
    learn=st.booleans(),
)
def test_a_dot_head_is_the_linear_it_folds_into(features, classes, scale, bias, neck, learn):
    head = ClassificationHead(
        features, classes, vectors="random", logits="dot", scale=scale, bias=bias, neck=neck,
        learn_vectors=learn,
    )  # fmt: skip
    if neck == "batchnorm":
        head(3 + 2 * rows(64, features, seed=1))  # running statistics that are not the initial ones
    if bias:
        nn.init.normal_(head.bias, generator=torch.Generator().manual_seed(2))
    head.double().eval()
    x = rows(9, features).double()
    linear = head.to_linear()
    assert type(linear) is nn.Linear
    torch.testing.assert_close(linear(x), head(x), rtol=1e-12, atol=1e-12)


def test_folding_touches_neither_the_head_nor_the_global_generator():
    head = ClassificationHead(8, 4, vectors="random", logits="dot", scale=3.0)
    before = head.vectors.clone()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    nn.init.zeros_(head.to_linear().weight)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(head.vectors, before)


@pytest.mark.parametrize("logits", ["cosine", "unit-features"])
def test_logits_over_the_features_length_are_refused_with_what_to_do(logits):
    head = ClassificationHead(8, 4, vectors="random", logits=logits, scale=1.0)
    with pytest.raises(RequestError, match=r"feature's length.*ONNX.*keep='ranking'"):
        head.to_linear()


@pytest.mark.parametrize("preset", ["simplex", "random-cosine", "learned-cosine@20", "simplex-dr"])
def test_a_cosine_heads_ranking_folds_and_the_logits_are_times_the_length(preset):
    head = ClassificationHead.from_preset(preset, 16, 6).double().eval()
    x = rows(200, 16).double()
    folded, logits = head.to_linear("ranking")(x), head(x)
    assert torch.equal(folded.argmax(1), logits.argmax(1))
    lengths = head.project(x).norm(dim=1, keepdim=True)
    torch.testing.assert_close(folded, logits * lengths, rtol=1e-10, atol=1e-10)


def test_a_cosine_head_with_a_bias_has_no_ranking_that_folds():
    head = ClassificationHead(8, 4, vectors="random", bias=True)
    with pytest.raises(RequestError, match="without bias"):
        head.to_linear("ranking")


def test_an_mlp_neck_is_refused():
    head = ClassificationHead(8, 4, vectors="random", logits="dot", scale=1.0, neck="mlp")
    with pytest.raises(RequestError, match="mlp"):
        head.to_linear()


def test_a_linear_in_half_precision_stays_in_half_precision():
    head = ClassificationHead(
        8, 4, vectors="random", logits="dot", scale=1.0, dtype=torch.bfloat16
    )  # fmt: skip
    assert head.to_linear().weight.dtype == torch.bfloat16

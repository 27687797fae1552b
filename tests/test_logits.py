import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity, linear

from fixhead import logits


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 33), st.floats(0.1, 50))
def test_cosine_logits_are_scaled_cosine_similarities(n, k, d, scale):
    x, w = draw(n, d), draw(k, d, seed=1)
    expected = scale * cosine_similarity(x[:, None], w[None], dim=-1)
    torch.testing.assert_close(logits.cosine(x, w, scale=scale), expected)


def test_dot_logits_of_scale_one_are_linear_itself():
    x, w, b = draw(5, 8), draw(3, 8, seed=1), draw(3, seed=2)
    assert torch.equal(logits.dot(x, w, bias=b), linear(x, w, b))


def test_dot_logits_scale_before_the_bias():
    x, w, b = draw(5, 8), draw(3, 8, seed=1), draw(3, seed=2)
    torch.testing.assert_close(logits.dot(x, w, scale=7.0, bias=b), 7.0 * (x @ w.T) + b)


def test_cosine_gradients_match_numerical_ones():
    x, w = draw(4, 6).requires_grad_(), draw(3, 6, seed=1).requires_grad_()
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w, s: logits.cosine(x, w, scale=s), (x, w, scale))


def test_promised_unit_vectors_give_the_same_logits():
    x, w = draw(4, 6), logits.unit(draw(3, 6, seed=1))
    torch.testing.assert_close(
        logits.cosine(x, w, scale=5.0, unit_vectors=True), logits.cosine(x, w, scale=5.0)
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_zero_feature_has_zero_logits_and_a_zero_gradient(dtype):
    x = torch.zeros(2, 4, dtype=dtype)
    x[1, 0] = 2
    x.requires_grad_()
    w = torch.eye(3, 4, dtype=dtype)
    z = logits.cosine(x, w)
    torch.logsumexp(z.float(), dim=1).sum().backward()
    assert torch.equal(z[0], torch.zeros(3, dtype=z.dtype))
    assert torch.equal(x.grad[0], torch.zeros(4, dtype=dtype))
    assert bool(torch.isfinite(x.grad).all())


def test_half_precision_rows_are_normalised_in_float32():
    x = torch.full((1, 4096), 10.0, dtype=torch.float16)  # ‖x‖² = 409,600 overflows float16
    assert logits.unit(x).dtype == torch.float32
    assert logits.unit(x).norm().item() == pytest.approx(1.0, abs=1e-6)


def test_long_and_short_rows_keep_their_direction():
    x = torch.tensor([[3e15, 4e15], [3e-10, 4e-10]])
    torch.testing.assert_close(logits.unit(x), torch.tensor([[0.6, 0.8], [0.6, 0.8]]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_cosine_under_autocast_errs_no_more_than_its_matrix_product(dtype):
    x, w = draw(64, 256, dtype=torch.float32) * 300, draw(10, 256, seed=1, dtype=torch.float32)
    exact = logits.cosine(x.double(), w.double(), scale=10.0)
    with torch.autocast("cpu", dtype=dtype):
        z = logits.cosine(x, w, scale=10.0)
    assert z.dtype == dtype
    error = (z.double() - exact).abs().max().item()
    assert error <= 10.0 * 4 * torch.finfo(dtype).eps
    assert math.isfinite(error)


def test_unit_rows_have_the_derivatives_of_every_order_and_mode():
    x = draw(3, 5).requires_grad_()
    s = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)

    def scaled(rows, length):
        return logits.unit(rows, length=length)

    assert torch.autograd.gradcheck(scaled, (x, s), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(scaled, (x, s))


def test_unit_rows_go_through_the_functional_transforms():
    x = draw(4, 5)
    jacobians = torch.func.vmap(torch.func.jacrev(logits.unit))(x)
    for row, jacobian in zip(x, jacobians, strict=True):
        u = row / row.norm()
        torch.testing.assert_close(jacobian, (torch.eye(5) - torch.outer(u, u)) / row.norm())
    forward = torch.func.vmap(torch.func.jacfwd(logits.unit))(x)
    torch.testing.assert_close(forward, jacobians)


def test_compiled_unit_rows_equal_eager_ones():
    x = draw(3, 5).requires_grad_()
    compiled = torch.compile(logits.unit, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), logits.unit(x))
    (eager,) = torch.autograd.grad(logits.unit(x).cos().sum(), x)
    (traced,) = torch.autograd.grad(compiled(x).cos().sum(), x)
    torch.testing.assert_close(traced, eager)

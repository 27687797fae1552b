import json

import pytest
import torch
from agreement import relative

from fixhead import RequestError
from fixhead import many_classes as scale
from fixhead.many_classes.kronecker import pack, transform, unpack
from fixhead.vectors import codes
from fixhead.vectors.sylvester import transform as butterfly


@pytest.mark.parametrize(("classes", "features"), [(700, 32), (2109, 64), (90, 128), (60, 8)])
def test_implicit_codes_are_the_stored_ones(classes, features):
    made = scale.implicit(classes, features, generator=torch.Generator().manual_seed(3))
    stored = codes(classes, features, max_cosine=1.0, generator=torch.Generator().manual_seed(3))
    assert torch.equal(made.dense(), stored)


@pytest.mark.parametrize("features", [8, 16, 23, 32, 100])
@pytest.mark.parametrize("family", ["auto", "random"])
def test_rows_are_unit_and_matmul_is_the_product_with_them(features, family):
    made = scale.implicit(333, features, family=family)
    W = made.dense(torch.float64)
    assert made.shape == W.shape == (333, features)
    assert torch.allclose(W.norm(dim=1), torch.ones(333, dtype=torch.float64), atol=1e-7)
    x = torch.randn(5, features, generator=torch.Generator().manual_seed(1)).requires_grad_()
    product = made.matmul(x)
    assert relative(product, x.double() @ W.T) < 1e-6
    upstream = torch.randn(5, 333, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad(product, x, upstream)
    assert relative(gradient, upstream.double() @ W) < 1e-6


def test_the_sum_of_all_vectors_can_be_weighted():
    for classes, features in ((141, 16), (333, 23), (333, 64), (50, 8)):
        made = scale.implicit(classes, features)
        W = made.dense(torch.float64)
        weights = torch.rand(classes, generator=torch.Generator().manual_seed(1))
        assert relative(made.weighted_sum(weights), weights.double() @ W) < 1e-6
        assert float((made.weighted_sum() - W.sum(dim=0)).abs().max()) < 1e-4


def test_a_certificate_of_a_code_holds_what_the_family_proves():
    found = scale.implicit(600, 32, family="gold").certificate()
    assert found.construction == "gold"
    assert found.distinct == 600
    assert found.abs_cosine_max == pytest.approx((2 / 32) ** 0.5, abs=1e-6)


def test_a_million_classes_take_an_eighth_of_a_byte_each():
    made = scale.implicit(1_000_000, 512)
    assert made.bits.nbytes <= 1_000_000 / 8 + 512
    assert made.rows(torch.tensor([999_999])).norm() == pytest.approx(1.0, abs=1e-6)


def test_a_full_family_names_its_size_and_the_next():
    with pytest.raises(RequestError, match=r"classes <= 1024 .* got classes=1025; use family="):
        scale.implicit(1025, 32, family="gold")
    with pytest.raises(RequestError, match="a power of two"):
        scale.implicit(100, 48, family="gold")
    with pytest.raises(RequestError, match="family must be one of"):
        scale.implicit(100, 48, family="golden")


def test_the_kronecker_transform_is_the_fast_one():
    x = torch.randn(3, 128, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert relative(transform(x), butterfly(x)) < 1e-14


def test_signs_come_back_from_their_bytes():
    bits = torch.randint(2, (21, 32), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    signs = 1.0 - 2.0 * bits.float()
    assert torch.equal(unpack(pack(bits), 0, 21, torch.float32), signs.T)
    assert torch.equal(unpack(pack(bits), 8, 5, torch.float32), signs[8:13].T)


class Stretched:
    """Rows of unequal length, made on demand: of nothing but these two members."""

    shape = (300, 32)

    def rows(self, labels, dtype=torch.float32):
        rows = scale.implicit(300, 32).rows(labels, dtype)
        return rows * (1 + labels.unsqueeze(1) % 7)


@pytest.mark.parametrize("norm", [None, 7.0])
@pytest.mark.parametrize("length", [1.0, 100.0])
def test_rows_whose_length_is_not_known_get_a_running_maximum(norm, length):
    made = scale.LazyVectors(Stretched(), norm=norm)
    W = made.dense(torch.float64)
    x = length * torch.randn(5, 32, generator=torch.Generator().manual_seed(1)) / 32**0.5
    labels = torch.tensor([0, 299, 5, 6, 7])
    for kind in ("dot", "cosine"):
        found = scale.linear_cross_entropy(x, made, labels, logits=kind, scale=3.0)
        exact = W if kind == "dot" else W / W.norm(dim=1, keepdim=True)
        wide = x.double() if kind == "dot" else x.double() / x.double().norm(dim=1, keepdim=True)
        true = torch.nn.functional.cross_entropy(3.0 * wide @ exact.T, labels)
        assert relative(found, true) < 2e-6
        assert relative(made.logits(x, kind, 3.0), 3.0 * wide @ exact.T) < 2e-6


def test_learned_rows_of_any_length_get_their_gradient_through_cosine_logits():
    W = torch.randn(50, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    x = torch.randn(4, 16, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(4)
    answers = [
        torch.autograd.grad(
            scale.linear_cross_entropy(x, given, labels, logits="cosine", scale=9.0), W
        )[0]
        for given in (W, scale.DenseVectors(W))
    ]
    assert relative(answers[0], answers[1]) < 1e-6
    assert float(answers[0].norm()) > 0


def test_a_fixed_tensor_is_measured_once_and_after_every_change():
    W = torch.randn(50, 16, generator=torch.Generator().manual_seed(1))
    made = scale.DenseVectors(W, fixed=True)
    assert made.norm == pytest.approx(float(W.norm(dim=1).max()))
    W.mul_(3)
    assert made.norm == pytest.approx(float(W.norm(dim=1).max()))
    assert scale.DenseVectors(W).norm is None
    assert scale.DenseVectors(W, unit_rows=True).norm == 1.0


def test_a_description_makes_the_same_code_again_and_another_digest_means_another_code():
    made = scale.implicit(700, 48, generator=torch.Generator().manual_seed(5))
    again = scale.Codes.from_dict(json.loads(json.dumps(made.to_dict())))
    assert torch.equal(again.dense(), made.dense())
    assert again.digest() == made.digest()
    other = scale.implicit(700, 48, generator=torch.Generator().manual_seed(6))
    assert other.digest() != made.digest()
    longer = made.grow(900)
    assert torch.equal(longer.dense()[:700], made.dense())
    with pytest.raises(RequestError, match="cannot be read"):
        scale.Codes.from_dict({"family": "gold"})

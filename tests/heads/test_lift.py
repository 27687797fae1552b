"""Class vectors behind a learned map: how it starts, and that it is part of the head."""

import pytest
import torch

from fixhead import ClassificationHead
from fixhead.heads.lift import initial_lift

KINDS = [
    {"logits": "cosine", "scale": 9.0},
    {"logits": "dot", "scale": 2.0, "bias": True},
    {"logits": "cosine", "scale": 9.0, "neck": "batchnorm"},
]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("width", "features"), [(16, 16), (256, 32), (1000, 7)])
def test_the_map_starts_as_a_frame_of_equal_stretch(width, features):
    A = initial_lift(width, features, torch.Generator().manual_seed(1), torch.float64)
    expected = width / features * torch.eye(features, dtype=torch.float64)
    torch.testing.assert_close(A.T @ A, expected)


def test_effective_vectors_have_length_one_on_average():
    head = ClassificationHead(32, 4000, vectors="random", code_width=256, logits="dot", scale=1.0)
    effective = head.vectors @ head.lift
    assert float(effective.square().sum(dim=1).mean()) == pytest.approx(1.0, rel=0.02)


def test_the_first_dot_logits_are_spread_as_a_learned_heads():
    x = draw(64, 32)
    wide = ClassificationHead(32, 2000, vectors="codes", code_width=256, logits="dot", scale=1.0)
    learned = ClassificationHead(
        32, 2000, vectors="random", logits="dot", scale=1.0, learn_vectors=True
    )
    assert float(wide(x).std()) == pytest.approx(float(learned(x).std()), rel=0.05)


@pytest.mark.parametrize("switches", KINDS, ids=str)
def test_logits_are_those_of_the_vectors_on_mapped_features(switches):
    head = ClassificationHead(32, 200, vectors="codes", code_width=64, **switches).eval()
    x = draw(5, 32)
    points = head.project(x)
    assert points.shape == (5, 64)
    torch.testing.assert_close(head(x), head.classify(points))
    expected = (x if "neck" not in switches else head.neck(x)) @ head.lift.T
    torch.testing.assert_close(points, expected)


@pytest.mark.parametrize("switches", KINDS, ids=str)
def test_the_map_folds_into_a_linear_layer(switches):
    head = ClassificationHead(32, 200, vectors="codes", code_width=64, **switches).eval()
    x = draw(5, 32)
    layer = head.to_linear("logits" if head.logits == "dot" else "ranking")
    assert torch.equal(layer(x).argmax(dim=1), head(x).argmax(dim=1))
    if head.logits == "dot":
        torch.testing.assert_close(layer(x), head(x), atol=1e-5, rtol=1e-5)


def test_trained_numbers_are_the_maps_and_a_checkpoint_holds_them():
    head = ClassificationHead(32, 5000, vectors="codes", code_width=128, scale=9.0)
    assert sum(p.numel() for p in head.parameters()) == 128 * 32
    other = ClassificationHead(
        32, 5000, vectors="codes", code_width=128, scale=9.0,
        generator=torch.Generator().manual_seed(5),
    )  # fmt: skip
    assert not torch.equal(other.lift, head.lift)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other(draw(3, 32)), head(draw(3, 32)))


def test_it_goes_to_float64_and_exports():
    head = ClassificationHead(32, 100, vectors="codes", code_width=64, scale=9.0)
    exported = torch.export.export(head, (draw(4, 32),))
    torch.testing.assert_close(exported.module()(draw(4, 32)), head(draw(4, 32)))
    assert head.double()(draw(2, 32).double()).dtype == torch.float64

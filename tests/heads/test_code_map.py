"""Class vectors behind a learned map: how it starts, and that it is part of the head."""

import pytest
import torch
from torch import nn

from fixhead import ClassificationHead
from fixhead.heads.necks import WIDEST, automatic_width, initial_code_map, resolve_auto

KINDS = [
    {"logits": "cosine", "scale": 9.0},
    {"logits": "dot", "scale": 2.0, "bias": True},
    {"logits": "cosine", "scale": 9.0, "neck": "batchnorm"},
]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("width", "features"), [(16, 16), (256, 32), (1000, 7)])
def test_the_map_starts_as_a_frame_of_equal_stretch(width, features):
    A = initial_code_map(width, features, torch.float64)
    expected = width / features * torch.eye(features, dtype=torch.float64)
    torch.testing.assert_close(A.T @ A, expected)


def test_effective_vectors_of_a_code_begin_at_length_one():
    head = ClassificationHead(32, 400, vectors="codes", code_width=256, logits="dot", scale=1.0)
    lengths = (head.vectors @ head.code_map.detach()).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(400))


def test_effective_vectors_have_length_one_on_average():
    head = ClassificationHead(32, 4000, vectors="random", code_width=256, logits="dot", scale=1.0)
    effective = head.vectors @ head.code_map.detach()
    assert float(effective.square().sum(dim=1).mean()) == pytest.approx(1.0, rel=0.02)


def test_the_first_dot_logits_are_spread_as_a_learned_heads():
    x = draw(64, 32)
    wide = ClassificationHead(32, 2000, vectors="codes", code_width=256, logits="dot", scale=1.0)
    learned = ClassificationHead(
        32, 2000, vectors="random", logits="dot", scale=1.0, learn_vectors=True
    )
    assert float(wide(x).detach().std()) == pytest.approx(
        float(learned(x).detach().std()), rel=0.05
    )


@pytest.mark.parametrize("switches", KINDS, ids=str)
def test_logits_are_those_of_the_vectors_on_mapped_features(switches):
    head = ClassificationHead(32, 200, vectors="codes", code_width=64, **switches).eval()
    x = draw(5, 32)
    points = head.project(x)
    assert points.shape == (5, 64)
    torch.testing.assert_close(head(x), head.classify(points))
    expected = (x if "neck" not in switches else head.neck(x)) @ head.code_map.T
    torch.testing.assert_close(points, expected)


@pytest.mark.parametrize("switches", KINDS, ids=str)
def test_the_map_folds_into_a_linear_layer(switches):
    head = ClassificationHead(32, 200, vectors="codes", code_width=64, **switches).eval()
    x = draw(5, 32)
    layer = head.to_linear("logits" if head.logit_kind == "dot" else "ranking")
    assert torch.equal(layer(x).argmax(dim=1), head(x).argmax(dim=1))
    if head.logit_kind == "dot":
        torch.testing.assert_close(layer(x), head(x), atol=1e-5, rtol=1e-5)


def test_trained_numbers_are_the_maps_and_a_checkpoint_holds_them():
    head = ClassificationHead(32, 5000, vectors="codes", code_width=128, scale=9.0)
    assert sum(p.numel() for p in head.parameters()) == 128 * 32
    other = ClassificationHead(
        32, 5000, vectors="codes", code_width=128, scale=9.0,
        generator=torch.Generator().manual_seed(5),
    )  # fmt: skip
    with torch.no_grad():
        head.code_map += draw(128, 32)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other(draw(3, 32)), head(draw(3, 32)))


def test_it_goes_to_float64_and_exports():
    head = ClassificationHead(32, 100, vectors="codes", code_width=64, scale=9.0)
    exported = torch.export.export(head, (draw(4, 32),))
    torch.testing.assert_close(exported.module()(draw(4, 32)), head(draw(4, 32)))
    assert head.double()(draw(2, 32).double()).dtype == torch.float64


@pytest.mark.parametrize("preset", ["code", "auto"])
def test_presets_put_a_code_behind_a_map_above_two_d_classes(preset):
    few = ClassificationHead.from_preset(preset, 32, 64)
    assert few.code_width is None
    many = ClassificationHead.from_preset(preset, 32, 1000)
    assert (many.code_width, many.construction, many.width) == (1024, "implicit", 1024)
    own = ClassificationHead(1024, 1000, vectors="implicit").scale
    assert float(many.scale) == pytest.approx(3 * float(own))
    logits = ClassificationHead.from_preset("vectors=codes,code_width=auto,loss=focal", 32, 1000)
    assert (logits.code_width, logits.construction) == (1024, "codes")


def test_auto_says_that_learned_vectors_learned_more_where_they_fit_in_memory():
    reason = ClassificationHead.from_preset("auto", 32, 1000).reason
    assert "behind a learned map" in reason
    assert "take learned-cosine@10" in reason
    huge = resolve_auto("auto", "auto", 10**7, 512, learned=False, without_logits=True)
    assert (huge.vectors, huge.width) == ("implicit", WIDEST)
    assert "learned-cosine" not in huge.reason


@pytest.mark.parametrize(
    ("classes", "features", "stored", "width"),
    [(10, 64, True, None), (129, 64, True, 256), (1000, 32, True, 1024), (1024, 32, True, 1024),
     (1025, 32, True, 2048), (50_000, 32, True, 1024), (50_000, 32, False, 4096),
     (10**7, 512, True, None), (10**7, 512, False, 4096), (10**7, 4096, False, None),
     (100, 2, False, None)],
)  # fmt: skip
def test_the_automatic_width_is_as_far_up_to_k_as_memory_allows(classes, features, stored, width):
    assert automatic_width(classes, features, stored=stored) == width


def test_a_given_tensor_says_how_wide_it_is():
    W = draw(100, 48)
    assert ClassificationHead(32, 100, vectors=W, code_width="auto").code_map.shape == (48, 32)
    assert ClassificationHead(48, 100, vectors=W, code_width="auto").code_map is None


def test_a_state_that_calls_the_map_lift_loads_as_before():
    head = ClassificationHead(16, 40, vectors="codes", code_width=64)
    with torch.no_grad():
        head.code_map.normal_()
    renamed = {"lift" if key == "code_map" else key: v for key, v in head.state_dict().items()}
    again = ClassificationHead(16, 40, vectors="codes", code_width=64)
    again.load_state_dict(renamed)
    assert torch.equal(again.code_map, head.code_map)
    model = nn.Sequential(nn.ReLU(), ClassificationHead(16, 40, vectors="codes", code_width=64))
    model.load_state_dict({f"1.{key}": value for key, value in renamed.items()})
    assert torch.equal(model[1].code_map, head.code_map)

"""build(): names, necks, seeds, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from fixhead._errors import RequestError
from fixhead.backbones import NAMES, Backbone, build

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def small(**options: object) -> Backbone:
    arguments = {"channels": 3, "image_size": 32, "seed": 0} | options
    return build("small-cnn", **arguments)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "identity"])
def test_own_backbones_end_in_nonnegative_features_of_the_size_they_say(name: str) -> None:
    backbone = build(name, channels=3, image_size=32, seed=0).eval()
    with torch.no_grad():
        features = backbone(IMAGES)
    assert features.shape == (4, backbone.features)
    assert backbone.nonnegative
    assert features.min() >= 0


def test_the_identity_gives_features_as_they_come_of_any_sign() -> None:
    backbone = build("identity", channels=3, image_size=4, seed=0)
    images = IMAGES[:, :, :4, :4]
    assert torch.equal(backbone(images), images.flatten(1))
    assert not backbone.nonnegative


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (1, 28), (3, 64), (4, 96)])
def test_small_cnn_takes_any_size_with_the_same_blocks(channels: int, size: int) -> None:
    backbone = build("small-cnn", channels=channels, image_size=size, seed=0)
    assert backbone(torch.zeros(2, channels, size, size)).shape == (2, 64)
    weights = sum(parameter.numel() for parameter in backbone.parameters())
    assert weights == 60_400 + 16 * 9 * (channels - 1)


def test_one_seed_gives_identical_weights_and_another_seed_does_not() -> None:
    first, again, other = small().state_dict(), small().state_dict(), small(seed=1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["body.0.0.weight"], other["body.0.0.weight"])


def test_a_neck_leaves_the_body_as_it_was() -> None:
    plain, necked = small().state_dict(), small(features=16).state_dict()
    assert all(torch.equal(plain[name], necked[name]) for name in plain)


def test_building_leaves_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    small(features=16)
    assert torch.equal(state, torch.random.get_rng_state())


def test_features_add_a_linear_neck_whose_output_takes_both_signs() -> None:
    backbone = small(features=16)
    features = backbone(IMAGES)
    assert (backbone.neck, backbone.features, backbone.nonnegative) == ("linear", 16, False)
    assert features.shape == (4, 16)
    assert features.min() < 0 < features.max()


def test_a_batchnorm_neck_keeps_d_and_centres_each_feature() -> None:
    backbone = small(neck="batchnorm")
    features = backbone.train()(IMAGES)
    assert (backbone.neck, backbone.features, backbone.nonnegative) == ("batchnorm", 64, False)
    torch.testing.assert_close(features.mean(dim=0), torch.zeros(64), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"neck": "batchnorm", "features": 16}, "neck='batchnorm' keeps .* use neck='linear'"),
        ({"neck": "mlp"}, "neck must be one of none, linear, batchnorm, got 'mlp'"),
        ({"features": 0}, "features must be at least 1, got 0"),
        ({"image_size": 4}, "8 pixels a side, got 3 and 4"),
        ({"channels": 0}, "at least 1 channel"),
        ({"pretrained": True}, "'small-cnn' has no pretrained weights"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_sentence(
    options: dict[str, object], words: str
) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        small(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("smal-cnn", "got 'smal-cnn'; did you mean small-cnn"),
        ("timm:resnet19", "did you mean timm:resnet"),
        ("torchvision:resnet19", "did you mean torchvision:resnet"),
        ("torchvision:fcn_resnet50", "got 'torchvision:fcn_resnet50'"),
        ("huggingface:resnet18", "got 'huggingface:resnet18'"),
        ("zzzzzzzz", r"got 'zzzzzzzz'$"),
    ],
)
def test_an_unknown_name_is_refused_with_close_matches(name: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        build(name, channels=3, image_size=32, seed=0)

"""Our networks against independent ones: published parameter counts and torchvision's blocks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fixhead._torchvision import import_torchvision
from fixhead.backbones import build
from fixhead.backbones.compact import densenet_bc
from fixhead.backbones.resnet import PadShortcut

models = import_torchvision().models


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def images(size: int = 32) -> Tensor:
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))


def assert_same_outputs(ours: nn.Module, theirs: nn.Module, size: int = 32) -> None:
    """Theirs gets our weights; both must agree in evaluation mode, in float64."""
    ours.double().eval()
    shuffle_batchnorm_statistics(ours)
    theirs.double().eval().load_state_dict(ours.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(ours(images(size).double()), theirs(images(size).double()))


def shuffle_batchnorm_statistics(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.1, 0.1, generator=generator)
            layer.running_var.uniform_(0.8, 1.2, generator=generator)


# Counts with a 10-class linear layer (100 where said), as widely published for CIFAR:
#   ResNet-18, ResNet-101, PreActResNet-18 with its last BatchNorm: public CIFAR code;
#   ResNet-32: He et al. 2016, table 6 (0.46 M), 464,154 exactly with shortcuts A;
#   ResNet-56: Hoffer et al. 2018, table 1, with shortcuts B;
#   DenseNet-BC-100-12: 0.77 M (Huang et al. 2017, table 2), 769,162 exactly, and 800,032 with
#   100 classes (Hoffer et al. 2018, table 1); MobileNetV2: torchvision's 3,504,872 - 1,281,000.
@pytest.mark.parametrize(
    ("name", "classes", "published"),
    [
        ("resnet18", 10, 11_173_962),
        ("resnet101", 10, 42_512_970),
        ("preact-resnet18", 10, 11_172_170),
        ("resnet32", 10, 464_154),
        ("resnet56", 10, 855_770),
        ("densenet-bc-100-12", 100, 800_032),
        ("mobilenetv2", 1000, 3_504_872),
    ],
)
def test_parameter_counts_are_the_published_ones(name: str, classes: int, published: int) -> None:
    backbone = build(name, channels=3, image_size=32, seed=0)
    assert parameters(backbone) + classes * (backbone.features + 1) == published


@pytest.mark.parametrize(("classes", "published"), [(10, 769_162), (100, 800_032)])
def test_densenet_bc_100_12_has_the_published_count(classes: int, published: int) -> None:
    assert parameters(densenet_bc(3, depth=100)) + classes * (342 + 1) == published


def test_the_papers_networks_have_their_published_feature_sizes() -> None:
    sizes = {"resnet32": 64, "resnet32x2": 128, "densenet-bc-150-12": 510}
    for name, features in sizes.items():
        assert build(name, channels=3, image_size=32, seed=0).features == features


@pytest.mark.parametrize("name", ["resnet18", "resnet101"])
def test_resnets_agree_with_torchvision_with_a_small_stem(name: str) -> None:
    theirs = models.get_model(name)
    theirs.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    theirs.maxpool = nn.Identity()
    theirs.fc = nn.Identity()
    assert_same_outputs(build(name, channels=3, image_size=32, seed=0).body, theirs)


def test_mobilenetv2_agrees_with_torchvision_with_smaller_strides() -> None:
    theirs = models.mobilenet_v2().features
    theirs[0][0].stride = (1, 1)
    theirs[2].conv[1][0].stride = (1, 1)
    ours = build("mobilenetv2", channels=3, image_size=32, seed=0).body
    assert isinstance(ours, nn.Sequential)
    assert_same_outputs(ours, nn.Sequential(*theirs, nn.AdaptiveAvgPool2d(1), nn.Flatten()))


def test_densenet_agrees_with_torchvision_with_a_small_stem() -> None:
    theirs = models.DenseNet(growth_rate=12, block_config=(24, 24, 24), num_init_features=24)
    theirs.features.conv0 = nn.Conv2d(3, 24, 3, 1, 1, bias=False)
    for name in ("norm0", "relu0", "pool0"):
        delattr(theirs.features, name)
    end = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    ours = build("densenet-bc-150-12", channels=3, image_size=32, seed=0).body
    ours.double().eval()
    shuffle_batchnorm_statistics(ours)
    theirs.double().eval().features.load_state_dict(ours.state_dict())
    with torch.no_grad():
        expected = end(theirs.features(images().double()))
        torch.testing.assert_close(ours(images().double()), expected)


def test_resnet32_agrees_with_one_written_from_the_paper() -> None:
    ours = build("resnet32", channels=3, image_size=32, seed=0).body.double().eval()
    shuffle_batchnorm_statistics(ours)
    with torch.no_grad():
        expected = resnet32_by_hand(ours.state_dict(), images().double())
        torch.testing.assert_close(ours(images().double()), expected)


def test_preact_resnet18_agrees_with_one_written_from_the_paper() -> None:
    ours = build("preact-resnet18", channels=3, image_size=32, seed=0).body.double().eval()
    shuffle_batchnorm_statistics(ours)
    with torch.no_grad():
        expected = preact_by_hand(ours.state_dict(), images().double())
        torch.testing.assert_close(ours(images().double()), expected)


def test_the_padding_shortcut_keeps_every_second_pixel_between_zero_channels() -> None:
    x = torch.arange(2 * 4 * 4.0).reshape(1, 2, 4, 4)
    y = PadShortcut(2, 4, stride=2)(x)
    assert y.shape == (1, 4, 2, 2)
    assert torch.equal(y[0, 1:3], x[0, :, ::2, ::2])
    assert y[0, 0].abs().sum() + y[0, 3].abs().sum() == 0


@pytest.mark.parametrize(("name", "size"), [("resnet101", 28), ("resnet101", 64)])
def test_resnet101_takes_28_to_64_pixels(name: str, size: int) -> None:
    backbone = build(name, channels=3, image_size=size, seed=0).eval()
    with torch.no_grad():
        assert backbone(images(size)).shape == (3, 2048)


def normalised(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """(x − mean) / √(var + ε) · γ + β, channel by channel."""
    mean, var, gamma, beta = (
        weights[f"{name}.{part}"][None, :, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * gamma + beta


def resnet32_by_hand(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    conv = nn.functional.conv2d
    x = normalised(weights, "bn1", conv(x, weights["conv1.weight"], padding=1)).relu()
    for stage in (1, 2, 3):
        for block in range(5):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = conv(x, weights[f"{name}.conv1.weight"], stride=stride, padding=1)
            y = normalised(weights, f"{name}.bn1", y).relu()
            y = conv(y, weights[f"{name}.conv2.weight"], padding=1)
            y = normalised(weights, f"{name}.bn2", y)
            shortcut = torch.zeros_like(y)
            start = (y.shape[1] - x.shape[1]) // 2
            shortcut[:, start : start + x.shape[1]] = x[:, :, ::stride, ::stride]
            x = (y + shortcut).relu()
    return x.mean(dim=(2, 3))


def preact_by_hand(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    conv = nn.functional.conv2d
    x = conv(x, weights["conv1.weight"], padding=1)
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            active = normalised(weights, f"{name}.bn1", x).relu()
            key = f"{name}.shortcut.weight"
            shortcut = conv(active, weights[key], stride=stride) if key in weights else x
            y = conv(active, weights[f"{name}.conv1.weight"], stride=stride, padding=1)
            y = normalised(weights, f"{name}.bn2", y).relu()
            x = conv(y, weights[f"{name}.conv2.weight"], padding=1) + shortcut
    return normalised(weights, "bn", x).relu().mean(dim=(2, 3))

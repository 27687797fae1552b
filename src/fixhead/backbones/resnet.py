"""Residual networks for small images: a 3×3 stem and no max-pooling.

Submodules carry torchvision's names, so that its weights load here and the two can be compared.

Source: He et al. 2016, "Deep residual learning"; the CIFAR-style ResNet-18 is the ImageNet one with
a 3×3 stem of stride 1 and no max-pool, as in most CIFAR code since 2017 (Shalev et al. use it).
PreActResNet-18, which normalises and activates before each convolution: He et al. 2016, "Identity
mappings in deep residual networks".
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    """A size×size convolution without bias that keeps the image size at stride 1."""
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


class BasicBlock(nn.Module):
    """y = ReLU(F(x) + x), F: two 3×3 convolutions with batch normalisation."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        outputs: Tensor = self.relu(y.add_(self.downsample(x)))
        return outputs


class Bottleneck(nn.Module):
    """y = ReLU(F(x) + x), F: 1×1 to ``width``, 3×3 (with the stride), 1×1 to 4 · ``width``."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = convolution(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        outputs: Tensor = self.relu(y.add_(self.downsample(x)))
        return outputs


class PreActBlock(nn.Module):
    """y = F(a(x)) + s(x), a: BatchNorm and ReLU, F: conv, a, conv; eq. 4 with identity shortcuts.

    Where the shape changes the shortcut is a bare 1×1 convolution of a(x), as in the paper's code.
    """

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = convolution(inputs, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3)
        self.relu = nn.ReLU(inplace=True)
        changes = stride != 1 or inputs != width
        self.shortcut = convolution(inputs, width, 1, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(active)
        y: Tensor = self.conv2(self.relu(self.bn2(self.conv1(active))))
        return y + shortcut


def projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """He et al.'s shortcut B: a 1×1 convolution where the shape changes, else the identity."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class PadShortcut(nn.Module):
    """He et al.'s shortcut A: every second pixel, and zero channels on both sides; no weights."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        missing = outputs - inputs
        self.before, self.after = missing // 2, missing - missing // 2
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(x, (0, 0, 0, 0, self.before, self.after))


def resnet18(channels: int) -> nn.Sequential:
    """ResNet-18, CIFAR-style: (N, C, H, W) → (N, 512), non-negative; 11,168,832 parameters."""
    return _imagenet_layout(BasicBlock, (2, 2, 2, 2), channels)


def resnet101(channels: int) -> nn.Sequential:
    """ResNet-101, CIFAR-style: (N, C, H, W) → (N, 2048), non-negative; 42,492,480 parameters."""
    return _imagenet_layout(Bottleneck, (3, 4, 23, 3), channels)


def resnet32(channels: int, width: int = 16) -> nn.Sequential:
    """ResNet-32 for CIFAR: (N, C, H, W) → (N, 4 · width), non-negative.

    6n + 2 layers with n = 5: stages of ``width``, 2 and 4 ``width``, shortcuts A. 463,504
    parameters at width 16, d = 64 (He et al., section 4.2); Yang et al. 2022 double the width for
    CIFAR-100, d = 128.
    """
    return _cifar_layout(channels, width, blocks=5, pad=True)


def resnet56(channels: int) -> nn.Sequential:
    """ResNet-56 for CIFAR: (N, C, H, W) → (N, 64), non-negative; 855,120 parameters.

    n = 9, shortcuts B, as in Hoffer et al. 2018: with their ten classes 855,770.
    """
    return _cifar_layout(channels, 16, blocks=9, pad=False)


def preact_resnet18(channels: int) -> nn.Sequential:
    """PreActResNet-18, CIFAR-style: (N, C, H, W) → (N, 512), non-negative; 11,167,040 parameters.

    After the last block stands the extra BatchNorm and ReLU of the paper's appendix ("when adding
    the last residual unit"); some public code leaves it out, and with it the 1,024 parameters.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=convolution(channels, 64, 3))
    inputs = 64
    for number in range(1, 5):
        width = 64 * 2 ** (number - 1)
        stride = 1 if number == 1 else 2
        layers[f"layer{number}"] = nn.Sequential(
            PreActBlock(inputs, width, stride), PreActBlock(width, width, 1)
        )
        inputs = width
    layers["bn"] = nn.BatchNorm2d(inputs)
    layers["relu"] = nn.ReLU(inplace=True)
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    net = nn.Sequential(layers)
    initialise_convolutions(net)
    return net


def _cifar_layout(channels: int, width: int, blocks: int, *, pad: bool) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = _stem(channels, width)
    inputs = width
    for number, factor in enumerate((1, 2, 4), start=1):
        stage = _stage(BasicBlock, inputs, width * factor, blocks, stride=min(factor, 2))
        if pad and factor > 1:
            first = stage[0]
            assert isinstance(first, BasicBlock)
            first.downsample = PadShortcut(inputs, width * factor, stride=2)
        layers[f"layer{number}"] = stage
        inputs = width * factor
    return _initialised(_pooled(layers))


def _imagenet_layout(
    block: type[BasicBlock] | type[Bottleneck], depths: tuple[int, ...], channels: int
) -> nn.Sequential:
    layers = _stem(channels, 64)
    inputs = 64
    for number, blocks in enumerate(depths, start=1):
        width = 64 * 2 ** (number - 1)
        stride = 1 if number == 1 else 2
        layers[f"layer{number}"] = _stage(block, inputs, width, blocks, stride)
        inputs = width * block.expansion
    return _initialised(_pooled(layers))


def _stem(channels: int, width: int) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        conv1=convolution(channels, width, 3),
        bn1=nn.BatchNorm2d(width),
        relu=nn.ReLU(inplace=True),
    )


def _stage(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, width: int, blocks: int, stride: int
) -> nn.Sequential:
    rest = [block(width * block.expansion, width, 1) for _ in range(blocks - 1)]
    return nn.Sequential(block(inputs, width, stride), *rest)


def _pooled(layers: OrderedDict[str, nn.Module]) -> nn.Sequential:
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    return nn.Sequential(layers)


def _initialised(net: nn.Sequential) -> nn.Sequential:
    initialise_convolutions(net)
    return net


@torch.no_grad()
def initialise_convolutions(net: nn.Module) -> None:
    """He et al.'s normal initialisation, N(0, 2 / fan_out), of every convolution."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

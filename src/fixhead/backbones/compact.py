"""Networks for small devices, whose convolutions see few channels at a time.

MobileNetV2, for small images: the first three strides are 1 instead of 2. Source: Sandler et al.
2018, "MobileNetV2: inverted residuals and linear bottlenecks", table 2.

ShuffleNet v1, for ImageNet; its classifier is more than half of it. Source: Zhang et al. 2018,
"ShuffleNet: an extremely efficient convolutional neural network for mobile devices", Table 1.

DenseNet-BC, for small images. Source: Huang et al. 2017, "Densely connected convolutional
networks", sections 3 and 4.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from .resnet import convolution, initialise_convolutions

_FEATURES = 1280
# expansion t, outputs c, repeats n, stride s; the second row's stride is 2 on ImageNet
_MOBILENET_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)

_SHUFFLENET_STEM = 24
_SHUFFLENET_REPEATS = (4, 8, 4)
_SHUFFLENET_WIDTHS = {3: (240, 480, 960)}
"""By the number of groups."""


class InvertedResidual(nn.Module):
    """1×1 to t · inputs, depthwise 3×3, linear 1×1 down; plus x where the shape allows it."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        widen = [_activated(inputs, hidden, 1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *widen,
            _activated(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


def mobilenetv2(channels: int) -> nn.Sequential:
    """MobileNetV2: (N, C, H, W) → (N, 1280), in [0, 6] (ReLU6, pooled); 2,223,872 parameters.

    The stem and the second stage keep the image size, so that a 32-pixel image ends in 4×4
    positions. Blocks are the paper's (and torchvision's, whose weights fit).
    """
    layers: list[nn.Module] = [_activated(channels, 32, 3)]
    inputs = 32
    for expansion, outputs, repeats, first_stride in _MOBILENET_STAGES:
        for number in range(repeats):
            stride = first_stride if number == 0 else 1
            layers.append(InvertedResidual(inputs, outputs, stride, expansion))
            inputs = outputs
    layers.append(_activated(inputs, _FEATURES, 1))
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    initialise_convolutions(net)
    return net


def _activated(
    inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


def shuffle(x: Tensor, groups: int) -> Tensor:
    """(N, C, H, W): channels as (groups, C/groups), transposed."""
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class ShuffleUnit(nn.Module):
    """y = ReLU(F(x) + x), at stride 2 ReLU([F(x), mean pool of x]); F: grouped 1×1 to a quarter of
    the width, shuffle, 3×3 depthwise, grouped 1×1."""

    def __init__(self, inputs: int, outputs: int, groups: int, first_groups: int) -> None:
        super().__init__()
        self.stride = 1 if inputs == outputs else 2
        self.groups = groups
        width = outputs // 4
        added = outputs if self.stride == 1 else outputs - inputs
        self.conv1 = nn.Conv2d(inputs, width, 1, groups=first_groups, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, self.stride, 1, groups=width, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, added, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(added)
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = shuffle(torch.relu(self.bn1(self.conv1(x))), self.groups)
        y = self.bn3(self.conv3(self.bn2(self.conv2(y))))
        y = y + x if self.stride == 1 else torch.cat([self.pool(x), y], dim=1)
        return torch.relu(y)


def shufflenet(channels: int, groups: int = 3) -> nn.Sequential:
    """ShuffleNet 1× with 3 groups: (N, C, H, W) → (N, 960), non-negative; 904,728
    parameters at C = 3."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(channels, _SHUFFLENET_STEM, 3, 2, 1, bias=False),
        bn1=nn.BatchNorm2d(_SHUFFLENET_STEM),
        relu=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )
    inputs = _SHUFFLENET_STEM
    for stage, (width, repeats) in enumerate(
        zip(_SHUFFLENET_WIDTHS[groups], _SHUFFLENET_REPEATS, strict=True), start=2
    ):
        for unit in range(repeats):
            # The very first 1×1 convolution has few inputs and is not grouped.
            first = 1 if inputs == _SHUFFLENET_STEM else groups
            layers[f"stage{stage}_{unit + 1}"] = ShuffleUnit(inputs, width, groups, first)
            inputs = width
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    net = nn.Sequential(layers)
    initialise_convolutions(net)
    return net


_BOTTLENECK = 4  # a 1×1 convolution to 4 · growth maps stands before every 3×3 one (the B)
_COMPRESSION = 2  # transitions keep half of the maps (the C: θ = 0.5)


class DenseLayer(nn.Module):
    """x → [x, H(x)], H: BatchNorm, ReLU, 1×1 to 4 · growth, BatchNorm, ReLU, 3×3 to growth."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        hidden = _BOTTLENECK * growth
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = convolution(inputs, hidden, 1)
        self.norm2 = nn.BatchNorm2d(hidden)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = convolution(hidden, growth, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.relu1(self.norm1(x)))
        y = self.conv2(self.relu2(self.norm2(y)))
        return torch.cat([x, y], dim=1)


def densenet_bc(channels: int, depth: int = 150, growth: int = 12) -> nn.Sequential:
    """DenseNet-BC: (N, C, H, W) → (N, d), non-negative.

    Three dense blocks of ⌊(depth − 4) / 6⌋ layers after a 3×3 stem of 2 · growth maps. Depth 150
    and growth 12 end in d = 510 (Yang et al. 2022); depth 100 in d = 342.
    """
    layers_per_block = (depth - 4) // 6
    maps = 2 * growth
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv0=convolution(channels, maps, 3))
    for number in (1, 2, 3):
        layers[f"denseblock{number}"] = _dense_block(maps, growth, layers_per_block)
        maps += growth * layers_per_block
        if number < 3:
            layers[f"transition{number}"] = _transition(maps, maps // _COMPRESSION)
            maps //= _COMPRESSION
    layers["norm5"] = nn.BatchNorm2d(maps)
    layers["relu"] = nn.ReLU(inplace=True)
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    net = nn.Sequential(layers)
    initialise_convolutions(net)
    return net


def _dense_block(maps: int, growth: int, layers: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            (f"denselayer{number + 1}", DenseLayer(maps + growth * number, growth))
            for number in range(layers)
        )
    )


def _transition(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(inputs),
            relu=nn.ReLU(inplace=True),
            conv=convolution(inputs, outputs, 1),
            pool=nn.AvgPool2d(2, stride=2),
        )
    )

"""ShuffleNet v1 for ImageNet, whose classifier is more than half of it.

Source: Zhang et al. 2018, "ShuffleNet: an extremely efficient convolutional neural network for
mobile devices", Table 1.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from .resnet import initialise_convolutions

_STEM = 24
_REPEATS = (4, 8, 4)
_WIDTHS = {3: (240, 480, 960)}
"""By the number of groups."""


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
        made = outputs if self.stride == 1 else outputs - inputs
        self.conv1 = nn.Conv2d(inputs, width, 1, groups=first_groups, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, self.stride, 1, groups=width, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, made, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(made)
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
        conv1=nn.Conv2d(channels, _STEM, 3, 2, 1, bias=False),
        bn1=nn.BatchNorm2d(_STEM),
        relu=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )
    inputs = _STEM
    for stage, (width, repeats) in enumerate(zip(_WIDTHS[groups], _REPEATS, strict=True), start=2):
        for unit in range(repeats):
            # The very first 1×1 convolution has few inputs and is not grouped.
            first = 1 if inputs == _STEM else groups
            layers[f"stage{stage}_{unit + 1}"] = ShuffleUnit(inputs, width, groups, first)
            inputs = width
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    net = nn.Sequential(layers)
    initialise_convolutions(net)
    return net

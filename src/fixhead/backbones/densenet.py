"""DenseNet-BC for small images.

Source: Huang et al. 2017, "Densely connected convolutional networks", sections 3 and 4.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from .resnet import convolution, initialise_convolutions

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

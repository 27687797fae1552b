"""MobileNetV2 for small images: the first three strides are 1 instead of 2.

Source: Sandler et al. 2018, "MobileNetV2: inverted residuals and linear bottlenecks", table 2.
"""

from __future__ import annotations

from torch import Tensor, nn

from .resnet import initialise_convolutions

FEATURES = 1280
# expansion t, outputs c, repeats n, stride s; the second row's stride is 2 on ImageNet
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


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
    for expansion, outputs, repeats, first_stride in _STAGES:
        for number in range(repeats):
            stride = first_stride if number == 0 else 1
            layers.append(InvertedResidual(inputs, outputs, stride, expansion))
            inputs = outputs
    layers.append(_activated(inputs, FEATURES, 1))
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

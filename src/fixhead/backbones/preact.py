"""PreActResNet-18: normalise and activate before each convolution.

Source: He et al. 2016, "Identity mappings in deep residual networks".
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from .resnet import convolution, initialise_convolutions


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

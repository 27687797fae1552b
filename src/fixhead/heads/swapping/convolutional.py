"""A classification head at every position of a feature map."""

from __future__ import annotations

from torch import Tensor, nn

from ..head import ClassificationHead


class ConvolutionalHead(nn.Module):
    """Feature maps x (N, d, H, W) → logits (N, K, H, W): the head at each position.

    It takes the place of a 1×1 convolution. What the model does with the maps before (pooling to
    1×1) or after (a mean over positions) stays as it is.
    """

    def __init__(self, head: ClassificationHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K, H, W) of feature maps (N, d, H, W)."""
        positions = features.movedim(1, -1)
        rows = self.head(positions.reshape(-1, positions.shape[-1]))
        logits: Tensor = rows.reshape(*positions.shape[:-1], rows.shape[-1]).movedim(-1, 1)
        return logits

"""A backbone and a head: images (N, C, H, W) → features (N, d) → logits (N, K)."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from .._errors import RequestError
from ..backbones import Backbone
from ..heads import ClassificationHead


class Classifier(nn.Module):
    """``head(backbone(images))``: logits (N, K) of images (N, C, H, W).

    Raises:
        RequestError: the head was built for features of another size.
    """

    def __init__(self, backbone: Backbone, head: ClassificationHead) -> None:
        super().__init__()
        if backbone.features != head.features:
            raise RequestError(
                f"the head needs features of size {head.features}, the backbone "
                f"{backbone.name!r} gives {backbone.features}; build the head with that size"
            )
        self.backbone = backbone
        self.head = head

    def features(self, images: Tensor) -> Tensor:
        """Features (N, d): what the head sees."""
        return cast(Tensor, self.backbone(images))

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.features(images)))

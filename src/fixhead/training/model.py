"""A backbone and a head: images (N, C, H, W) → features (N, d) → logits (N, K)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from .._errors import RequestError
from .._seeds import stream
from ..backbones.backbone import Backbone
from ..heads.head import ClassificationHead
from ..heads.spec import parse_head

Weights = dict[str, Tensor]
"""A state_dict."""


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


def build_classifier(
    backbone: Backbone,
    head: str,
    classes: int,
    *,
    counts: Sequence[int] | Tensor | None,
    seed: int,
) -> Classifier:
    """``backbone`` under the head of that preset or spec, its vectors drawn from ``seed``.

    ``counts`` (K,) are the training images of each class, for heads that follow them.
    """
    layer = ClassificationHead(
        backbone.features,
        classes,
        generator=stream(seed, "vectors"),
        class_counts=counts,
        nonnegative_features=backbone.nonnegative,
        **parse_head(head).arguments(),
    )
    return Classifier(backbone, layer)


def cloned(weights: Weights) -> Weights:
    """The weights apart from the model's own memory, on the same device."""
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


def on_cpu(weights: Weights) -> Weights:
    return {name: tensor.cpu() for name, tensor in weights.items()}


def weights_on_cpu(model: nn.Module) -> Weights:
    """The state_dict on the CPU, apart from the model's own memory."""
    return on_cpu(cloned(model.state_dict()))

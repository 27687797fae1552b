"""What every backbone is: images (N, C, H, W) → features (N, d); its neck and its first weights."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from .._errors import RequestError
from .._seeds import forked, stream

NeckName = Literal["none", "linear", "batchnorm"]


class Backbone(nn.Module):
    """A network body and its neck: images (N, C, H, W) → features (N, d).

    Attributes:
        name: the name that ``build`` was given.
        features: d, the size of a feature after the neck.
        nonnegative: whether every feature is ≥ 0 by construction (the last operation is a ReLU,
            or a pooling of one). It caps the cosine that a feature can reach with a class vector.
        neck: ``"none"``, ``"linear"`` or ``"batchnorm"``.
    """

    def __init__(self, name: str, body: nn.Module, features: int, nonnegative: bool) -> None:
        super().__init__()
        self.name = name
        self.features = features
        self.nonnegative = nonnegative
        self.neck: NeckName = "none"
        self.body = body
        self.neck_layer: nn.Module = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, d) of images (N, C, H, W)."""
        features: Tensor = self.neck_layer(self.body(images))
        return features

    def add_neck(self, neck: NeckName, features: int | None, seed: int) -> None:
        """Put a map after the body; its output is no longer non-negative.

        ``"linear"``: x → A x + a, with A (features, d); ``"batchnorm"``: BatchNorm1d(d), the
        neck of Yang et al. 2022 (their ``BN_H``). Drawn from the stream ``(seed, "neck")``.

        Raises:
            RequestError: an unknown neck, or a size that it cannot have.
        """
        neck = "linear" if neck == "none" and features is not None else neck
        _check_neck(neck, features, self.features)
        if neck == "none":
            return
        with forked(seed, "neck"):
            self.neck_layer = _neck_layer(neck, self.features, features or self.features)
        self.neck = neck
        self.features = features or self.features
        self.nonnegative = False


def xavier_(backbone: nn.Module, seed: int) -> None:
    """Draw every convolution and linear map anew: U(−a, a), a = √(6 / (fan_in + fan_out)).

    In place, from the stream (seed, "xavier"); biases become 0, normalisations stay.

    Source: Glorot & Bengio 2010, eq. 16.
    """
    generator = stream(seed, "xavier")
    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _neck_layer(neck: NeckName, size: int, features: int) -> nn.Module:
    return nn.Linear(size, features) if neck == "linear" else nn.BatchNorm1d(features)


def _check_neck(neck: str, features: int | None, size: int) -> None:
    if neck not in get_args(NeckName):
        raise RequestError(f"neck must be one of {', '.join(get_args(NeckName))}, got {neck!r}")
    if features is not None and features < 1:
        raise RequestError(f"features must be at least 1, got {features}")
    if neck == "batchnorm" and features not in (None, size):
        raise RequestError(
            f"neck='batchnorm' keeps the backbone's {size} features, got features={features}; "
            "use neck='linear' to change the size"
        )

"""Other first weights than a backbone's own."""

from __future__ import annotations

from torch import nn

from .._seeds import stream


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

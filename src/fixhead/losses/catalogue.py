"""The losses by name, with what each needs to be given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from .entropy import cross_entropy, focal
from .longtail import balanced_softmax, ldam, logit_adjustment
from .margins import arcface, cosface, normface
from .regression import dot_regression, squared_cosine


@dataclass(frozen=True)
class LossFacts:
    """How a loss is called, before its options.

    takes:  "logits"    ``function(logits, labels)``, logits of any kind
            "cosines"   ``function(cosines, labels, scale=S)``: no margin fits dot logits
            "features"  ``function(features, vectors, labels)``
    counts: the class counts (K,) follow the labels
    soft:   probabilities (N, K) may take the labels' place (mixup)
    """

    function: Callable[..., Tensor]
    takes: Literal["logits", "cosines", "features"]
    counts: bool = False
    soft: bool = True


LOSSES: dict[str, LossFacts] = {
    "cross-entropy": LossFacts(cross_entropy, "logits"),
    "focal": LossFacts(focal, "logits"),
    "balanced-softmax": LossFacts(balanced_softmax, "logits", counts=True),
    "logit-adjustment": LossFacts(logit_adjustment, "logits", counts=True),
    "normface": LossFacts(normface, "cosines"),
    "cosface": LossFacts(cosface, "cosines", soft=False),
    "arcface": LossFacts(arcface, "cosines", soft=False),
    "ldam": LossFacts(ldam, "cosines", counts=True, soft=False),
    "dot-regression": LossFacts(dot_regression, "features"),
    "squared-cosine": LossFacts(squared_cosine, "features"),
}

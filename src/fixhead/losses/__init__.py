"""One function per loss, its formula first.

Logits or cosines (N, K), labels (N,) → nats (or squares). All of them share ``ignore_index``,
``reduction`` ("none", "mean", "sum"), float32 arithmetic for half-precision inputs, and a zero
loss with a zero gradient for a batch in which nothing counts.
"""

from .catalogue import LOSSES, LossFacts
from .checks import IGNORE_INDEX, check_counts, check_labels, check_probabilities
from .entropy import cross_entropy, focal
from .longtail import (
    adjust_logits,
    balanced_softmax,
    deferred_weights,
    effective_number_weights,
    ldam,
    ldam_margins,
    logit_adjustment,
)
from .margins import (
    arcface,
    arcface_logits,
    arcface_margin,
    cosface,
    cosface_logits,
    cosface_margin,
    normface,
)
from .regression import class_lengths, dot_regression, squared_cosine

__all__ = [
    "IGNORE_INDEX",
    "LOSSES",
    "LossFacts",
    "adjust_logits",
    "arcface",
    "arcface_logits",
    "arcface_margin",
    "balanced_softmax",
    "check_counts",
    "check_labels",
    "check_probabilities",
    "class_lengths",
    "cosface",
    "cosface_logits",
    "cosface_margin",
    "cross_entropy",
    "deferred_weights",
    "dot_regression",
    "effective_number_weights",
    "focal",
    "ldam",
    "ldam_margins",
    "logit_adjustment",
    "normface",
    "squared_cosine",
]

"""The loss of a head: which function of ``fixhead.losses``, with which option, on what."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .._errors import RequestError
from ..logits import unit
from ..losses import entropy, longtail
from ..losses.catalogue import LOSSES
from ..losses.checks import IGNORE_INDEX, check_counts, check_labels, readable
from ..losses.regression import class_lengths, dot_regression, squared_cosine
from ..many_classes.vectors import ClassVectors, DenseVectors

OPTIONS: dict[str, str] = {
    "cross-entropy": "label_smoothing",
    "focal": "gamma",
    "logit-adjustment": "tau",
    "cosface": "margin",
    "arcface": "margin",
    "ldam": "max_margin",
}
"""What a number after the colon means: ``cosface:0.35``, ``focal:2``, …"""

LENGTHS = ("batch", "global", "none")
"""What may follow ``dot-regression:``; the released code takes the batch's own counts."""


@dataclass(frozen=True)
class LossName:
    """``"cosface:0.35"`` taken apart."""

    name: str
    option: float | str | None

    def __str__(self) -> str:
        if self.option is None:
            return self.name
        value = self.option if isinstance(self.option, str) else f"{self.option:g}"
        return f"{self.name}:{value}"


def parse_loss(text: str) -> LossName:
    """``"focal:2"`` → LossName("focal", 2.0).

    Raises:
        RequestError: an unknown loss, or a value that it does not take.
    """
    name, colon, value = text.partition(":")
    if name not in LOSSES:
        raise RequestError(f"loss must be one of {', '.join(LOSSES)}, got {text!r}")
    if not colon:
        return LossName(name, None)
    if name == "dot-regression":
        if value not in LENGTHS:
            raise RequestError(
                f"loss=dot-regression takes one of {', '.join(LENGTHS)} after the colon, "
                f"got {text!r}"
            )
        return LossName(name, value)
    if name not in OPTIONS:
        raise RequestError(f"loss={name} takes nothing after a colon, got {text!r}")
    try:
        return LossName(name, float(value))
    except ValueError:
        raise RequestError(
            f"loss={name} takes a number ({OPTIONS[name]}) after the colon, got {text!r}"
        ) from None


def check_fit(loss: LossName, logits: str, bias: bool, counts: Tensor | None) -> None:
    """Refuse a loss that does not fit the head.

    Raises:
        RequestError: margins on dot logits, a prior without counts.
    """
    facts = LOSSES[loss.name]
    if facts.takes == "cosines" and logits != "cosine":
        raise RequestError(
            f"loss={loss.name} needs logits='cosine', got logits={logits!r}: its margin is an "
            "angle or a cosine; use a cosine head"
        )
    if facts.takes == "cosines" and bias:
        raise RequestError(f"loss={loss.name} needs bias=False: cosines have no bias")
    if counts is None and (facts.counts or loss.option == "global"):
        raise RequestError(
            f"loss={loss} needs class_counts (K,), the training images of each class, got none"
        )
    if facts.counts and counts is not None:
        check_counts(counts)


def goes_without_logits(loss: LossName) -> bool:
    """Whether it has a path that holds no logits (N, K)."""
    return loss.name in WITHOUT_LOGITS or LOSSES[loss.name].takes == "features"


def check_implicit(loss: LossName) -> None:
    """Refuse a loss that needs the logits (N, K), for vectors that are not stored."""
    if not goes_without_logits(loss):
        known = [name for name, facts in LOSSES.items() if facts.takes == "features"]
        raise RequestError(
            f"implicit vectors need a loss without logits ({', '.join([*WITHOUT_LOGITS, *known])}),"
            f" got loss={loss}; use one of these, or vectors that are stored (vectors='codes')"
        )


def compute(
    loss: LossName,
    points: Tensor,
    vectors: ClassVectors,
    logits: Tensor | None,
    labels: Tensor,
    *,
    scale: float | Tensor,
    counts: Tensor | None,
    weight: Tensor | None,
) -> Tensor:
    """The mean loss of a batch; ``logits`` are cosines where the loss takes cosines.

    points (N, D) are the features that the class vectors see, behind the neck. A loss on features
    takes no logits, and of class vectors that are not stored the batch's own ones only.
    """
    facts = LOSSES[loss.name]
    if facts.takes == "features":
        return _on_features(loss, points, vectors, labels, counts)
    assert logits is not None
    if loss == _PLAIN and weight is None and _plain(logits, labels):
        return _torchs_own(logits, labels)
    options: dict[str, object] = {} if weight is None else {_weight_name(loss.name): weight}
    if isinstance(loss.option, float):
        options[OPTIONS[loss.name]] = loss.option
    if facts.takes == "cosines":
        options["scale"] = scale
    arguments = (logits, labels, counts) if facts.counts else (logits, labels)
    return facts.function(*arguments, **options)


def _plain(logits: Tensor, labels: Tensor) -> bool:
    """Whether torch's own kernel can be asked without a look at the values."""
    return labels.dtype == torch.int64 and labels.shape == logits.shape[:-1] and logits.ndim == 2


def _torchs_own(logits: Tensor, labels: Tensor) -> Tensor:
    """The common case at hardly any cost over ``torch.nn.functional.cross_entropy``.

    Where no row counts torch's mean is 0/0; here it is 0, as in ``fixhead.losses``.
    """
    if torch.compiler.is_compiling():
        loss = cross_entropy(logits, labels)
    else:
        try:
            loss = cross_entropy(logits, labels)
        except IndexError:
            check_labels(labels, logits.shape[1])  # says which label, and where
            raise
        if readable(loss):
            nan = math.isnan(loss.item())
            return entropy.cross_entropy(logits, labels).to(loss.dtype) if nan else loss
    return torch.where((labels != IGNORE_INDEX).any(), loss, 0.0)


WITHOUT_LOGITS = (
    "cross-entropy",
    "normface",
    "cosface",
    "arcface",
    "balanced-softmax",
    "logit-adjustment",
)
"""Losses that ``fixhead.many_classes`` computes without the logits, value and gradient alike."""


def options_without_logits(loss: LossName) -> dict[str, Any]:
    """The loss's own option, as ``many_classes.linear_cross_entropy`` takes it."""
    value = loss.option if isinstance(loss.option, float) else None
    if loss.name in MARGINS:
        return {loss.name: MARGINS[loss.name] if value is None else value}
    return {} if value is None or loss.name not in WITHOUT_LOGITS else {OPTIONS[loss.name]: value}


MARGINS = {"cosface": 0.35, "arcface": 0.5}
"""The margins that ``fixhead.losses`` takes where none is named."""


def _on_features(
    loss: LossName,
    points: Tensor,
    vectors: ClassVectors,
    labels: Tensor,
    counts: Tensor | None,
) -> Tensor:
    lengths: Literal["batch", "none"] | Tensor = "none" if loss.option == "none" else "batch"
    if loss.option == "global":
        assert counts is not None
        lengths = class_lengths(counts)
    if isinstance(vectors, DenseVectors):
        rows = vectors.tensor
    else:
        present, labels = _own_classes(labels, vectors.classes)
        rows = vectors.rows(present, points.dtype)
        lengths = lengths[present] if isinstance(lengths, Tensor) else lengths
    unit_vectors = vectors.unit_rows
    if loss.name == "squared-cosine":
        return squared_cosine(points, rows, labels, unit_vectors=unit_vectors)
    # The released code normalises what BatchNorm gives before the loss (resnet_cifar.py).
    return dot_regression(unit(points), rows, labels, lengths=lengths, unit_vectors=unit_vectors)


def _own_classes(labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """The classes of a batch (at least two), and its labels (N,) as places among them."""
    if labels.ndim != 1:
        raise RequestError(
            "a loss on features over vectors that are not stored needs labels (N,), got "
            f"{tuple(labels.shape)}"
        )
    check_labels(labels, classes)
    counted = labels != IGNORE_INDEX
    safe = torch.where(counted, labels, 0)
    present = torch.unique(torch.cat([safe, safe.new_tensor([0, 1])]))
    places = torch.searchsorted(present, safe)
    return present, torch.where(counted, places, IGNORE_INDEX)


def _weight_name(loss: str) -> str:
    return "alpha" if loss == "focal" else "weight"


def deferred_weights(counts: Tensor, epoch: int, start: int) -> Tensor:
    """Class weights of Cao et al. 2019's deferred re-weighting: ones before epoch ``start``."""
    with torch.no_grad():
        return longtail.deferred_weights(counts, epoch, start=start)


_PLAIN = LossName("cross-entropy", None)

"""Before the first step: passes over a sample of the training images for a start from the data.

1. Where BatchNorm layers have seen nothing (running means 0, variances 1), their statistics are
   taken from the first 2,000 images; those of a trained network stay.
2. The first m = max(4, ⌈5 D/K⌉) images of every class go through the network once, in evaluation
   mode; D is the width of what the last linear layer before the class vectors takes, or of the
   features where there is none. Nothing is kept of them but sums (``heads.imprint``).

So an image of m in n of a class costs about a third of a training step. Which images come first is
the order of the first epoch; nothing is drawn.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .._errors import RequestError
from ..heads.head import ClassificationHead
from ..heads.imprint import ClassMoments, discriminant_, no_layer, parse_initial
from ..logits import unit

NORMALISED = 2_000
"""Images from which BatchNorm's statistics are taken."""

LEAST, SHARE = 4, 5
"""Images of a class at least, and images in all as multiples of D."""

AT_ONCE = 256
"""Images that go through the network at once."""

Passes = Callable[[], Iterable[tuple[Any, Tensor]]]
"""Begins a pass over (inputs, labels (n,)); the same images in the same order every time."""


@dataclass(frozen=True)
class Imprinted:
    """What a start from the data came from.

    images: how many images were looked at for means and scatter; classes: how many classes had one.
    width: D where a linear layer was set to discriminants, else None.
    """

    images: int
    classes: int
    width: int | None
    seconds: float


@torch.no_grad()
def imprint_head(
    model: nn.Module, head: ClassificationHead, passes: Passes, *, trained: bool = False
) -> Imprinted:
    """Start ``head``, which stands somewhere in ``model``, from the data as its ``initial`` says.

    trained: that the layers of the model have learned, and stay as they are: class means only.

    Raises:
        RequestError: as ``heads.imprint``; no images; nothing that could be set.
    """
    start, asked = time.perf_counter(), parse_initial(head.initial)
    with _evaluated(model):
        device = head.class_vectors.device
        if not trained:
            _normalise(model, head, passes, device)
        layer, width = _last_layer(model, head, passes, device)
        pooled = asked.layer and layer is not None and not trained
        if not (pooled or asked.vectors):
            raise no_layer(head.initial)
        moments = ClassMoments(
            head.classes, width if pooled else head.width, pooled=pooled, device=device
        )
        count = max(LEAST, math.ceil(SHARE * moments.width / head.classes))
        for inputs, labels in _sample(passes, head.classes, count):
            seen = up_to(head, model, inputs.to(device))
            moments.add(_kept(seen, head, pooled), labels.to(device))
        means = moments.means
        if pooled:
            assert layer is not None
            discriminant_(layer, moments, asked.whitening)
            means = layer(means.to(layer.weight.dtype))
        if asked.vectors:
            head.imprint_means(means, moments.counts)
        head.awaits_imprint = False
    return Imprinted(
        int(moments.counts.sum()),
        len(moments.present),
        moments.width if pooled else None,
        time.perf_counter() - start,
    )


@torch.no_grad()
def reassign_head(model: nn.Module, head: ClassificationHead, passes: Passes) -> int:
    """Choose the bytes of quantised vectors anew by the class means of unit features as the network
    gives them now, of a sample as above. Returns how many classes changed.

    Raises:
        RequestError: class vectors that are not quantised, or no images.
    """
    device = head.class_vectors.device
    with _evaluated(model):
        moments = ClassMoments(head.classes, head.width, device=device)
        count = max(LEAST, math.ceil(SHARE * moments.width / head.classes))
        for inputs, labels in _sample(passes, head.classes, count):
            points = up_to(head, model, inputs.to(device)).points
            moments.add(unit(points), labels.to(device))
        return head.reassign(moments.means)


@dataclass(frozen=True)
class Seen:
    """What the class vectors see of a batch (n, d), and the linear layer that made it, with what it
    was given, where a trained linear layer did."""

    points: Tensor
    layer: nn.Linear | None = None
    inputs: Tensor | None = None


class _Reached(Exception):  # noqa: N818 - nothing went wrong
    """The head was reached: its logits are not wanted."""


def up_to(head: ClassificationHead, model: nn.Module, inputs: Any) -> Seen:
    """The inputs' way through ``model`` as far as the class vectors of ``head``.

    Raises:
        RequestError: the head is not reached, or not by one feature per input.
    """
    last: list[tuple[nn.Linear, Tensor, Tensor]] = []
    reached: list[Tensor] = []

    def noted(layer: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        last[:] = [(layer, given[0], made)]

    def arrived(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        reached.append(head.project(given[0]))
        raise _Reached

    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    hooks = [layer.register_forward_hook(noted) for layer in linear]
    hooks.append(head.register_forward_pre_hook(arrived))
    try:
        model(inputs)
    except _Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    if not reached or reached[0].ndim != 2:
        got = "none" if not reached else str(tuple(reached[0].shape))
        raise RequestError(
            f"imprinting needs a model that gives its head features (n, {head.features}), got {got}"
        )
    points = reached[0]
    if last and last[0][2] is points and last[0][0].weight.requires_grad:
        return Seen(points, last[0][0], last[0][1])
    return Seen(points)


def _kept(seen: Seen, head: ClassificationHead, pooled: bool) -> Tensor:
    if pooled:
        assert seen.inputs is not None
        return seen.inputs
    return seen.points if head.logit_kind == "dot" else unit(seen.points)


def _last_layer(
    model: nn.Module, head: ClassificationHead, passes: Passes, device: torch.device
) -> tuple[nn.Linear | None, int]:
    for inputs, _ in passes():
        few = inputs[:2] if isinstance(inputs, Tensor) else inputs
        seen = up_to(head, model, few.to(device))
        return seen.layer, 0 if seen.layer is None else seen.layer.in_features
    raise RequestError("imprinting needs at least one batch of images, got none")


def _sample(passes: Passes, classes: int, count: int) -> Iterator[tuple[Any, Tensor]]:
    """The first ``count`` images of every class, ``AT_ONCE`` or a few more at a time; of inputs
    that are no tensor whole batches.
    """
    left = torch.full((classes,), count)
    images: list[Tensor] = []
    owners: list[Tensor] = []
    for inputs, given in passes():
        labels = given.cpu()
        chosen = _first(labels, left)
        if len(chosen) and not isinstance(inputs, Tensor):
            yield inputs, labels
        elif len(chosen):
            images.append(inputs[chosen.to(inputs.device)])
            owners.append(labels[chosen])
        if sum(map(len, owners)) >= AT_ONCE:
            yield torch.cat(images), torch.cat(owners)
            images, owners = [], []
        if not bool(left.any()):
            break
    if owners:
        yield torch.cat(images), torch.cat(owners)


def _first(labels: Tensor, left: Tensor) -> Tensor:
    """The places (n,) of the images that are still wanted; ``left`` (K,) counts down."""
    order = labels.argsort(stable=True)
    own = labels[order]
    rank = torch.arange(len(own)) - torch.searchsorted(own, own)
    taken = order[rank < left[own]]
    left.index_add_(0, labels[taken], torch.full_like(taken, -1))
    return taken.sort().values


def _normalise(
    model: nn.Module, head: ClassificationHead, passes: Passes, device: torch.device
) -> None:
    """The statistics of BatchNorm layers that have none yet: plain means over batches."""
    layers = [layer for layer in model.modules() if _untouched(layer)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    seen = 0
    try:
        for layer in layers:
            layer.momentum = None
            layer.train()
        for inputs, labels in passes():
            if len(labels) > 1:  # of one image nothing varies
                up_to(head, model, inputs.to(device))
                seen += len(labels)
            if seen >= NORMALISED:
                break
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            layer.eval()


def _untouched(layer: nn.Module) -> TypeGuard[_BatchNorm]:
    if not isinstance(layer, _BatchNorm) or layer.running_mean is None:
        return False
    assert layer.running_var is not None
    return not bool(layer.running_mean.any()) and bool((layer.running_var == 1).all())


@contextmanager
def _evaluated(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training

"""Batches whose images are mixed in pairs: their labels become probabilities (N, K).

    t_i = λ · onehot(y_i) + (1 − λ) · onehot(y'_i)

For losses that are linear in the target, such as cross-entropy, that is mixup's
``λ · L(x', y) + (1 − λ) · L(x', y')`` in one pass (Zhang et al. 2018; CutMix: Yun et al. 2019).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor
from torch.nn.functional import one_hot

from .._errors import RequestError
from ..heads.head import ClassificationHead
from ..losses.catalogue import LOSSES

if TYPE_CHECKING:
    from ..data.augment.mixing import Mixed


class EpochBatches(Protocol):
    """What a pass over data needs of it; ``fixhead.data.Batches`` is one."""

    def __len__(self) -> int:
        """Batches in an epoch."""

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images float32 (N, C, H, W) and labels int64 (N,), on the device."""


@runtime_checkable
class MixingBatches(Protocol):
    """Batches that can also mix; ``mixing`` is None where they do not."""

    @property
    def mixing(self) -> object | None: ...

    def mixed(self, number: int) -> Iterator[Mixed]:
        """Mixed images with both labels and their weight."""


def mixing_of(batches: EpochBatches) -> object | None:
    """How these batches mix; None where every image has one label."""
    return batches.mixing if isinstance(batches, MixingBatches) else None


def labelled(batches: EpochBatches, epoch: int, classes: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images (N, C, H, W) with labels (N,), or with probabilities (N, K) where they are mixed."""
    if not isinstance(batches, MixingBatches) or batches.mixing is None:
        yield from batches.epoch(epoch)
        return
    for mixed in batches.mixed(epoch):
        yield mixed.images, targets(mixed, classes)


def targets(mixed: Mixed, classes: int) -> Tensor:
    """t (N, K) in float32, each row adding up to 1."""
    first, second = (one_hot(labels, classes).float() for labels in (mixed.labels, mixed.others))
    return second.lerp(first, mixed.weight)


def check_mixing(mixing: object | None, head: ClassificationHead) -> None:
    """Refuse to mix labels for a loss that takes one label per image.

    Raises:
        RequestError: naming the augmentation and the loss.
    """
    if mixing is not None and not LOSSES[head.loss_name.name].soft:
        raise RequestError(
            f"augmentation {mixing} mixes labels, and loss={head.loss_name} takes one label per "
            "image because its margin belongs to one class; leave out the mixing or that head"
        )

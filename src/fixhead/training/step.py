"""One optimiser step, the sums of a pass over batches, and what may look at a validation pass.

Training, fine-tuning and runs in several processes take the same step; what is trained, on what
device and in what precision, is the caller's.

Where images are mixed in pairs, their labels become probabilities (N, K):

    t_i = λ · onehot(y_i) + (1 − λ) · onehot(y'_i)

For losses that are linear in the target, such as cross-entropy, that is mixup's
``λ · L(x', y) + (1 − λ) · L(x', y')`` in one pass (Zhang et al. 2018; CutMix: Yun et al. 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from .._errors import RequestError
from ..geometry.accuracy import balanced_accuracy
from ..heads.head import ClassificationHead
from ..losses.catalogue import LOSSES

if TYPE_CHECKING:
    from ..data.augment.mixing import Mixed


CHECK_EVERY = 64
"""Batches between two looks at whether the loss is finite; each look waits for the device."""

RECENT = 16
"""Batches whose mean loss a progress report shows."""

Objective = Callable[[Any, Tensor], tuple[Tensor, Tensor]]
"""inputs, labels → the loss, a scalar with gradients, and which predictions are right, (N,)."""


class Updates(Protocol):
    """An optimiser, as far as a step needs one."""

    def zero_grad(self) -> None: ...

    def step(self) -> Any: ...


class Runner(Protocol):
    """Precision and gradients of the place where a step is taken; a Fabric is one."""

    def autocast(self) -> AbstractContextManager[Any]: ...

    def backward(self, tensor: Tensor, /) -> None: ...


class PlainRunner:
    """One device, in the precision of the weights."""

    def autocast(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def backward(self, tensor: Tensor, /) -> None:
        torch.autograd.backward(tensor)


def take_step(
    objective: Objective, optimizer: Updates, inputs: Any, labels: Tensor, runner: Runner
) -> tuple[Tensor, Tensor]:
    """Move the weights once against the gradient of the loss; the loss and the hits of before."""
    optimizer.zero_grad()
    with runner.autocast():
        loss, right = objective(inputs, labels)
    runner.backward(loss)
    optimizer.step()
    return loss.detach(), right


class ValidationHook(Protocol):
    """Sees one validation pass, and says in plain JSON what it saw, without the loop knowing any
    measure; nothing in it waits for the device until ``finish``."""

    def add(self, points: Tensor, labels: Tensor) -> None:
        """What the class vectors see of a batch, (N, D), and labels (N,)."""

    def finish(self) -> Mapping[str, Any]: ...


MakeValidationHook = Callable[[], ValidationHook]
"""Makes a new hook for each pass."""


class NonFiniteLossError(RuntimeError):
    """The loss became infinite or NaN; ``epoch`` and ``step`` count from 1."""

    def __init__(self, loss: float, part: str, epoch: int, step: int) -> None:
        super().__init__(
            f"the {part} loss became {loss} at step {step} of epoch {epoch}; "
            "try a lower learning rate, a longer warm-up or precision 32-true"
        )
        self.epoch = epoch
        self.step = step


class Tally:
    """Sums of a pass over batches of losses (scalars) and hits (N,) bool, left on the device until
    they are asked for.

    Among several processes, each adds its share of them, and ``average`` takes the mean over all.

    Raises:
        NonFiniteLossError: from ``add`` (at most CHECK_EVERY batches late, naming the very step)
            or ``finish``.
    """

    def __init__(
        self,
        epoch: int,
        part: str = "training",
        average: Callable[[Tensor], Tensor] = lambda values: values,
    ) -> None:
        self._epoch, self._part, self._average = epoch, part, average
        self._sizes: list[int] = []
        self._losses: list[Tensor] = []
        self._hits: list[Tensor] = []
        self._labels: list[Tensor] = []
        self.images = 0

    def add(
        self, loss: Tensor, hits: Tensor, labels: Tensor | None = None, images: int | None = None
    ) -> None:
        """One batch of ``images`` (as many as ``hits``, unless that is a share of their sum);
        labels (N,) only where ``balanced_accuracy`` is wanted."""
        self._losses.append(loss)
        self._hits.append(hits)
        if labels is not None:
            self._labels.append(labels)
        self._sizes.append(len(hits) if images is None else images)
        self.images += self._sizes[-1]
        if len(self._losses) % CHECK_EVERY == 0:
            self._check(len(self._losses) - CHECK_EVERY)

    def recent_loss(self) -> float:
        return torch.stack(self._losses[-RECENT:]).mean().item()

    def finish(self) -> tuple[float, float]:
        """The mean loss and the accuracy over all images."""
        losses = self._check(0)
        sizes = torch.tensor(self._sizes, dtype=torch.float64)
        loss = (losses.double() * sizes).sum().item() / self.images
        right = torch.cat([hits.reshape(-1) for hits in self._hits]).sum()
        return loss, self._average(right.double()).item() / self.images

    def balanced_accuracy(self) -> float:
        """The mean over classes of the accuracy within the class; classes that occur only."""
        hits, labels = torch.cat(self._hits).cpu(), torch.cat(self._labels).cpu()
        images = torch.bincount(labels)
        right = torch.bincount(labels[hits], minlength=len(images))
        # The predictions of a class, the second row, are not needed for it.
        return balanced_accuracy(torch.stack([images, torch.zeros_like(images), right])).item()

    def _check(self, start: int) -> Tensor:
        """The losses from batch ``start`` on, on the CPU, all finite."""
        losses = self._average(torch.stack(self._losses[start:])).cpu()
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            first = int(bad[0])
            loss = losses[first].item()
            raise NonFiniteLossError(loss, self._part, self._epoch, start + first + 1)
        return losses


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

    def unmixed(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The same images before they are mixed, with their own labels."""


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


def unmixed(batches: EpochBatches, epoch: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """Images (N, C, H, W) of an epoch with labels (N,), whether they are mixed or not."""
    if isinstance(batches, MixingBatches):
        yield from batches.unmixed(epoch)
    else:
        yield from batches.epoch(epoch)


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

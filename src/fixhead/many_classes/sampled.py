"""Softmax over a drawn part of very many learned classes (Partial FC), to compare with exact."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import default_generator_or
from ..losses import IGNORE_INDEX, check_labels
from ..losses.checks import readable
from .loss import linear_cross_entropy


class Sample(NamedTuple):
    """Drawn classes in ascending order (n,), and the labels as places among them (N,)."""

    classes: Tensor
    labels: Tensor


def sample_classes(
    labels: Tensor,
    classes: int,
    *,
    rate: float = 0.1,
    ignore_index: int = IGNORE_INDEX,
    generator: torch.Generator | None = None,
) -> Sample:
    """All classes of the batch, filled up to rate·K by others at random, without replacement.

    Ignored labels stay ``ignore_index``. Where the batch holds more than rate·K classes, those.

    Source: An et al. 2022 (Partial FC), section 3.

    Raises:
        RequestError: a rate outside (0, 1], or (on the CPU) a label out of range.
    """
    if isinstance(rate, bool) or not 0 < rate <= 1:
        raise RequestError(f"rate must be above 0 and at most 1, got {rate!r}")
    if readable(labels):
        check_labels(labels, classes, ignore_index=ignore_index)
    labels = labels.to(torch.int64)
    counted = labels != ignore_index
    generator = default_generator_or(generator)
    order = torch.rand(classes, generator=generator, device=generator.device).to(labels.device)
    positives = torch.unique(labels[counted])
    order[positives] = 2.0  # above every other: the batch's own classes always take part
    size = max(round(rate * classes), len(positives), 2)
    drawn = order.topk(min(size, classes), sorted=False).indices.sort().values
    places = torch.searchsorted(drawn, torch.where(counted, labels, 0))
    return Sample(drawn, torch.where(counted, places, ignore_index))


def sampled_cross_entropy(
    features: Tensor,
    vectors: Tensor,
    labels: Tensor,
    *,
    rate: float = 0.1,
    generator: torch.Generator | None = None,
    bias: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
    **options: object,
) -> Tensor:
    """``linear_cross_entropy`` over the classes that ``sample_classes`` draws: not the exact loss.

    The gradient of undrawn rows of ``vectors`` (K, d) is zero; of W only drawn rows are read.
    Give a generator that goes on from step to step; without one every call draws the same.

    Source: An et al. 2022 (Partial FC), section 3: the loss has no correction for sampling.

    Raises:
        RequestError: as ``linear_cross_entropy`` and ``sample_classes``; options per class.
    """
    for name in ("weight", "prior"):
        if options.get(name) is not None:
            raise RequestError(
                f"sampled_cross_entropy() takes no {name}: use linear_cross_entropy()"
            )
    drawn = sample_classes(
        labels, vectors.shape[0], rate=rate, ignore_index=ignore_index, generator=generator
    )
    part = None if bias is None else bias[drawn.classes]
    return linear_cross_entropy(
        features,
        vectors[drawn.classes],
        drawn.labels,
        bias=part,
        ignore_index=ignore_index,
        **options,  # type: ignore[arg-type]
    )

"""Stratified cuts: which images are for training, which for validation or testing."""

from __future__ import annotations

import numpy as np
import torch

from .._errors import RequestError
from .._seeds import stream
from .dataset import Labels


def validation_split(labels: Labels, *, fraction: float = 0.1, seed: int) -> tuple[Labels, Labels]:
    """Cut ``round(fraction · n_c)`` images of every class c off for validation.

    At least one of every class that has two, and never the last one: a class of one image stays in
    training. Returns ``(train_indices, validation_indices)``, each ascending, disjoint, together
    everything. Drawn from the stream "split" of ``seed``.

    Raises:
        RequestError: a fraction outside 0..1, or so few images that nothing would be left over.
    """
    return _stratified(labels, fraction, stream(seed, "split"))


def holdout_split(labels: Labels, *, fraction: float = 0.2) -> tuple[Labels, Labels]:
    """The test part of a data set that comes without one: always of seed 0, never the run's seed.

    Returns ``(train_indices, test_indices)``, stratified as in ``validation_split``.
    """
    return _stratified(labels, fraction, stream(0, "split", "test"))


def _stratified(
    labels: Labels, fraction: float, generator: torch.Generator
) -> tuple[Labels, Labels]:
    if not 0 < fraction < 1:
        raise RequestError(f"fraction needs a number between 0 and 1, got {fraction}")
    if len(labels) and labels.min() < 0:
        raise RequestError(f"labels need numbers from 0 up, got {labels.min()}")
    counts = np.bincount(labels)
    wanted = np.floor(fraction * counts + 0.5).astype(np.int64)
    wanted = np.clip(wanted, np.minimum(1, counts - 1), counts - 1).clip(min=0)
    if wanted.sum() == 0:
        raise RequestError(
            f"a stratified split needs a class of at least two images, got {len(labels)} images of "
            f"{int((counts > 0).sum())} classes"
        )
    chosen = _rank_in_class(labels, counts, generator) < wanted[labels]
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _rank_in_class(labels: Labels, counts: Labels, generator: torch.Generator) -> Labels:
    """A random place 0..n_c − 1 for every image among those of its class: (N,)."""
    shuffled = torch.randperm(len(labels), generator=generator).numpy()
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    first = np.cumsum(counts) - counts
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_class] = np.arange(len(labels)) - first[labels[by_class]]
    return rank

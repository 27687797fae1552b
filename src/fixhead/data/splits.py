"""Stratified cuts: which images are for training, which for validation or testing."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from .._errors import RequestError
from .._seeds import stream
from .dataset import Labels


def validation_split(
    labels: Labels, *, fraction: float = 0.1, seed: int, groups: Labels | None = None
) -> tuple[Labels, Labels]:
    """Cut ``round(fraction · n_c)`` images of every class c off for validation.

    At least one of every class that has two, and never the last one: a class of one image stays in
    training. With ``groups`` (N,), whole groups are cut off, as near to those numbers as they
    allow; a class that lies in one group stays in training. Returns ``(train_indices,
    validation_indices)``, each ascending, disjoint, together everything. Drawn from the stream
    "split" of ``seed``.

    Raises:
        RequestError: a fraction outside 0..1, or so few images that nothing would be left over.
    """
    return _stratified(labels, fraction, stream(seed, "split"), groups)


def holdout_split(
    labels: Labels, *, fraction: float = 0.2, groups: Labels | None = None
) -> tuple[Labels, Labels]:
    """The test part of a data set that comes without one: always of seed 0, never the run's seed.

    Returns ``(train_indices, test_indices)``, stratified as in ``validation_split``.
    """
    return _stratified(labels, fraction, stream(0, "split", "test"), groups)


def _stratified(
    labels: Labels, fraction: float, generator: torch.Generator, groups: Labels | None
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
    if groups is None:
        chosen = _rank_in_class(labels, counts, generator) < wanted[labels]
    else:
        chosen = _whole_groups(labels, groups, wanted, generator)
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _whole_groups(
    labels: Labels, groups: Labels, wanted: Labels, generator: torch.Generator
) -> NDArray[np.bool_]:
    """Which images are cut off: group by group in a random order, those that bring the classes
    nearer to ``wanted`` (K,) and leave an image of every class behind; then, for a class that has
    only larger groups, the smallest of them."""
    _, groups = np.unique(groups, return_inverse=True)
    number = int(groups.max()) + 1
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(groups, minlength=number))[:-1])
    counts = np.bincount(labels, minlength=len(wanted))
    cut, chosen = np.zeros_like(wanted), np.zeros(len(labels), dtype=bool)
    drawn: list[int] = torch.randperm(number, generator=generator).tolist()
    for anyhow, turn in (
        (False, drawn),
        (True, sorted(drawn, key=lambda group: len(members[group]))),
    ):
        for group in turn:
            held, sizes = np.unique(labels[members[group]], return_counts=True)
            after, goal = cut[held] + sizes, wanted[held]
            nearer = np.abs(after - goal).sum() < np.abs(cut[held] - goal).sum()
            missing = anyhow and ((cut[held] == 0) & (goal > 0)).any()
            if (nearer or missing) and (after < counts[held]).all():
                cut[held] = after
                chosen[members[group]] = True
    if not chosen.any():
        raise RequestError(
            f"--keep-together leaves {number} groups of which none can be cut off for validation "
            "or testing; a class needs at least two groups"
        )
    return chosen


def _rank_in_class(labels: Labels, counts: Labels, generator: torch.Generator) -> Labels:
    """A random place 0..n_c − 1 for every image among those of its class: (N,)."""
    shuffled = torch.randperm(len(labels), generator=generator).numpy()
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    first = np.cumsum(counts) - counts
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_class] = np.arange(len(labels)) - first[labels[by_class]]
    return rank

"""Which images are trained on: stratified cuts for validation or testing, shares, long tails.

A long tail leaves fewer training images for some classes, by a published rule; the test set stays.

``exp:f``        n_r = ⌊n · f^(r / (K − 1))⌋            Cao et al. 2019 (LDAM), MiSLAS, Yang et al.
``step:f``       n for the first ⌊K/2⌋ ranks, ⌊n · f⌋ for the others   the same
``geometric:p``  n_r = round(y · p (1 − p)^(r + 1))     de la Calle et al., eq. 5 (their c = r + 1)
``counts:FILE``  one number per class, from a file

r = 0 .. K − 1 is a class's rank, n = ⌊N / K⌋, y the images that the class has. At least one image
stays. By default class 0 has rank 0, as published; ``exp:0.01,order=reversed`` changes that:
``index``, ``reversed``, ``size`` (the largest class first) or ``shuffled:SEED``. For a person's own
data with classes of different sizes ``size`` is the default: their numbers mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from .._errors import RequestError
from .._seeds import stream
from .dataset import Dataset, Labels
from .reading import read_long_tail, tail_number


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


ORDER_WORDS = {
    "index": "their numbers",
    "reversed": "their numbers, from the last",
    "size": "their sizes, the largest first",
    "shuffled": "a seed",
}


@dataclass(frozen=True)
class LongTail:
    """A rule in a person's words, taken apart: ``exp:0.01,order=size``."""

    kind: str
    value: str
    order: str = ""

    def __str__(self) -> str:
        order = "" if self.order in ("", "index") else f",order={self.order}"
        return f"{self.kind}:{self.value}{order}"

    def counts(self, sizes: Labels) -> Labels:
        """How many images of each class stay, of the ``sizes`` (K,) that there are: (K,).

        Raises:
            RequestError: a value outside the rule's range, or a counts file that does not fit.
        """
        if self.kind == "counts":
            return _from_file(Path(self.value), sizes)
        ranked = ranks(sizes, self.order)
        wanted = np.empty_like(sizes)
        wanted[ranked] = _RULES[self.kind](sizes[ranked], tail_number(self.kind, self.value))
        return np.minimum(np.maximum(wanted, 1), sizes)


def parse_long_tail(text: str) -> LongTail:
    """``"exp:0.01"``, ``"step:0.1"``, ``"geometric:0.5"`` or ``"counts:FILE"``, with an order.

    Raises:
        RequestError: as ``data.reading.read_long_tail``.
    """
    return LongTail(*read_long_tail(text))


def thin(data: Dataset, rule: str | LongTail, *, seed: int = 0) -> Dataset:
    """``data`` with its training part cut to a long tail; the test part is left as it is.

    Which images stay is drawn as the published code does: class by class, the first n_c of its
    images after ``numpy.random.RandomState(seed).shuffle``. With seed 0 and the default order it
    chooses the very images of LDAM's, MiSLAS's and Yang et al.'s long-tailed CIFAR.

    Raises:
        RequestError: the rule cannot be met.
    """
    tail = parse_long_tail(rule) if isinstance(rule, str) else rule
    sizes = data.train.counts(len(data.classes))
    tail = settled(tail, data, sizes)
    counts = tail.counts(sizes)
    kept = keep(data.train.labels, counts, seed=seed)
    return data.with_train(data.train.take(kept), *_notes(tail, data, sizes, counts))


def settled(tail: LongTail, data: Dataset, sizes: Labels) -> LongTail:
    """The rule with the order that it means for these data, where it names none."""
    own = data.from_path and sizes.min() < sizes.max() and tail.kind in ("exp", "step")
    return replace(tail, order="size" if own else "index") if not tail.order else tail


def share(data: Dataset, images: int, *, seed: int = 0) -> Dataset:
    """``data`` with about ``images`` training images, the same share of every class.

    n_c = max(1, round(y_c · images / N)) of a class's y_c images; which, is drawn as by ``thin``.
    All of them where there are no more than ``images``.
    """
    total = len(data.train)
    if images >= total:
        return data
    sizes = data.train.counts(len(data.classes))
    counts = np.floor(sizes * (images / total) + 0.5).astype(np.int64)
    kept = keep(data.train.labels, np.minimum(np.maximum(counts, 1), sizes), seed=seed)
    return data.with_train(data.train.take(kept), f"{len(kept)} of {total} training images")


def keep(labels: Labels, counts: Labels, *, seed: int = 0) -> Labels:
    """The images that stay, ascending: ``counts[c]`` of every class c, as published code draws."""
    generator = np.random.RandomState(seed)  # the generator of the published code
    chosen = []
    for label, count in enumerate(counts.tolist()):
        members = np.flatnonzero(labels == label)
        generator.shuffle(members)
        chosen.append(members[:count])
    return np.sort(np.concatenate(chosen))


def ranks(sizes: Labels, order: str) -> Labels:
    """The classes from the largest to the smallest they shall be: (K,)."""
    number = len(sizes)
    if order == "reversed":
        return np.arange(number)[::-1]
    if order == "size":
        return np.argsort(-sizes, kind="stable")
    if order.startswith("shuffled"):
        seed = int(order.partition(":")[2] or 0)
        return torch.randperm(number, generator=stream(seed, "long-tail")).numpy()
    return np.arange(number)


def is_imbalanced(counts: Labels) -> bool:
    """Whether the largest class has at least twice the images of the smallest."""
    return bool(counts.max() >= 2 * max(int(counts.min()), 1))


def groups(counts: Labels) -> dict[str, Labels]:
    """The classes with many, medium and few training images, by the rule of their literature.

    10 and 100 classes: ranks 0-2/3-6/7-9 and 0-35/36-70/71-99 by size (long-tailed CIFAR, MiSLAS).
    Otherwise more than 100, 20 to 100, fewer than 20 images (Liu et al. 2019, ImageNet-LT). Groups
    without classes are left out.
    """
    ordered = np.argsort(-counts, kind="stable")
    cuts = {10: (3, 7), 100: (36, 71)}.get(len(counts))
    if cuts is None:
        sizes = counts[ordered]
        cuts = (int((sizes > 100).sum()), int((sizes >= 20).sum()))
    parts = zip(("many", "medium", "few"), np.split(ordered, cuts), strict=True)
    return {name: np.sort(part) for name, part in parts if len(part)}


def _exponential(sizes: Labels, factor: float) -> Labels:
    top, last = sizes.sum() // len(sizes), max(len(sizes) - 1.0, 1.0)
    return np.asarray([int(top * factor ** (rank / last)) for rank in range(len(sizes))])


def _step(sizes: Labels, factor: float) -> Labels:
    top = int(sizes.sum() // len(sizes))
    return np.where(np.arange(len(sizes)) < len(sizes) // 2, top, int(top * factor))


def _geometric(sizes: Labels, p: float) -> Labels:
    g = p * (1 - p) ** np.arange(1, len(sizes) + 1)
    return np.floor(sizes * g + 0.5).astype(np.int64)


_RULES: dict[str, Callable[[Labels, float], Labels]] = {
    "exp": _exponential,
    "step": _step,
    "geometric": _geometric,
}


def _from_file(path: Path, sizes: Labels) -> Labels:
    """One whole number per class: lines (or words) in a text file, in the classes' order."""
    try:
        words = path.read_text(encoding="utf-8-sig").replace(",", " ").split()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"imbalance counts:{path} cannot be read ({error})") from error
    if not all(re.fullmatch(r"\d+", word) for word in words) or len(words) != len(sizes):
        raise RequestError(
            f"imbalance counts:{path} needs one whole number per class = {len(sizes)}, got "
            f"{len(words)} words"
        )
    counts = np.asarray([int(word) for word in words], dtype=np.int64)
    wrong = np.flatnonzero((counts > sizes) | (counts < 1))
    if len(wrong):
        label = int(wrong[0])
        raise RequestError(
            f"imbalance counts:{path} needs 1 to {sizes[label]} images of class {label}, got "
            f"{counts[label]}"
        )
    return counts


def _notes(tail: LongTail, data: Dataset, sizes: Labels, counts: Labels) -> list[str]:
    large, small = int(counts.argmax()), int(counts.argmin())
    base = order = ""
    if tail.kind in ("exp", "step"):
        base = f", counted from {int(sizes.sum() // len(sizes))} images a class"
    if tail.kind != "counts":
        order = f", classes in the order of {ORDER_WORDS[tail.order.partition(':')[0]]}"
    notes = [
        f"long tail {tail}: {counts.sum()} of {sizes.sum()} training images, from {counts[large]} "
        f"({data.classes[large]}) to {counts[small]} ({data.classes[small]}){base}{order}; the "
        "test set is whole"
    ]
    if tail.kind in ("exp", "step"):
        top = int(sizes.sum() // len(sizes))
        short = [data.classes[c] for c in np.flatnonzero((counts == sizes) & (sizes < top))]
        if short:
            notes.append(
                f"the rule asks for more images than there are of {', '.join(short[:3])}"
                f"{', ...' if len(short) > 3 else ''}; all of them stay"
            )
    return notes

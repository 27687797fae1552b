"""Long tails: fewer training images for some classes, by a published rule; the test set stays.

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

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from .._errors import RequestError
from .._seeds import stream
from .dataset import Dataset, Labels

ORDER_WORDS = {
    "index": "their numbers",
    "reversed": "their numbers, from the last",
    "size": "their sizes, the largest first",
    "shuffled": "a seed",
}
ORDERS = tuple(ORDER_WORDS)


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
        wanted[ranked] = _RULES[self.kind](sizes[ranked], self._number())
        return np.minimum(np.maximum(wanted, 1), sizes)

    def _number(self) -> float:
        high = 1.0 if self.kind != "geometric" else math.nextafter(1.0, 0.0)
        try:
            number = float(self.value)
        except ValueError:
            number = math.nan
        if not 0 < number <= high:
            raise RequestError(
                f"imbalance {self.kind} needs a number between 0 and 1, got {self.value!r}"
            )
        return number


def parse_long_tail(text: str) -> LongTail:
    """``"exp:0.01"``, ``"step:0.1"``, ``"geometric:0.5"`` or ``"counts:FILE"``, with an order.

    Raises:
        RequestError: another rule, or an unknown order.
    """
    rule, _, order = text.partition(",order=")
    kind, _, value = rule.partition(":")
    if kind not in (*_RULES, "counts") or not value:
        raise RequestError(
            f"imbalance needs {', '.join(f'{name}:NUMBER' for name in _RULES)} or counts:FILE, "
            f"got {text!r}"
        )
    if not re.fullmatch(r"|index|reversed|size|shuffled(:\d+)?", order):
        raise RequestError(f"imbalance order needs one of {', '.join(ORDERS)}, got {order!r}")
    tail = LongTail(kind, value, order)
    if kind != "counts":
        tail._number()
    return tail


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

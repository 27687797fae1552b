"""Which head to take when nothing else is known: one table, each line with what it rests on.

``auto`` has frozen class vectors and ``auto:learned`` learned ones. Both are settled once K, d, the
sign of the features and the class counts are known: the first line that fits is taken, and
``head.reason`` says why. A line rests on settings of the study of heads (benchmarks/right_head.py,
whose page is docs/right_head.md), or on geometry alone where the study has none. The page holds the
table against every setting with that setting left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from ..vectors.block_codes import most_words
from .spec import HeadSpec

FEW = 20
"""Up to so many classes non-negative vectors did as well as any frozen ones."""

TAIL = 10.0
"""From this ratio of the largest class to the smallest the loss is logit-adjusted: the mildest tail
of the study."""

_IMPLICIT_FROM = 10_000
"""More classes than this are left to codes, which need not be stored."""


@dataclass(frozen=True)
class Case:
    """What a head is chosen for: K, d, and what is known of features and classes."""

    classes: int
    features: int
    nonnegative: bool = False
    counts: Tensor | None = None

    @property
    def has_tail(self) -> bool:
        if self.counts is None:
            return False
        least, most = float(self.counts.min()), float(self.counts.max())
        return least > 0 and most >= TAIL * least

    @property
    def takes_blocks(self) -> bool:
        """Whether non-negative features have block codes for so many classes."""
        K, d = self.classes, self.features
        return self.nonnegative and K <= _IMPLICIT_FROM and d > 2 and most_words(d) >= K


@dataclass(frozen=True)
class Line:
    """A head, when it is taken (in words, and as a condition), and why.

    settings: of benchmarks/right_head.py, on which the line rests.
    reason: empty where the construction says its own.
    """

    learned: bool
    when: str
    fits: Callable[[Case], bool]
    head: HeadSpec
    reason: str = ""
    settings: tuple[str, ...] = ()


_RISING = HeadSpec("random", scale="auto:rising", learn_vectors=True, initial="imprint")

LINES = (
    Line(
        False,
        "features ≥ 0, K ≤ d, up to 20 classes",
        lambda case: case.nonnegative and case.classes <= min(case.features, FEW),
        HeadSpec("nonnegative_orthogonal"),
        "features without negative entries can lie on any of these vectors, and K <= d",
        ("digits", "mnist", "cifar10", "cifar10, tail", "tiny-imagenet 20"),
    ),
    Line(
        False,
        "features ≥ 0, K ≤ d, more classes",
        lambda case: case.nonnegative and case.classes <= case.features,
        HeadSpec("simplex", neck="batchnorm"),
        f"with more than {FEW} classes features that BatchNorm lets be negative learned a simplex "
        "better than those after a ReLU learned vectors in their reach",
        ("characters 100", "tiny-imagenet 100", "tiny-imagenet 100, tail"),
    ),
    Line(
        False,
        "features ≥ 0, d < K ≤ 2d",
        lambda case: case.takes_blocks and case.classes <= 2 * case.features,
        HeadSpec("block_codes"),
        "K > d, and features without negative entries can lie on any block code",
        ("digits, d 8", "characters 100, tail", "tiny-imagenet 100, d 64"),
    ),
    Line(
        False,
        "features ≥ 0, K > d, no block code, and K ≤ 2d or d ≤ 2",
        lambda case: case.nonnegative and (case.classes <= 2 * case.features or case.features <= 2),
        HeadSpec("auto", neck="batchnorm"),
        "K > d, and no block code has so many classes: BatchNorm lets features be negative",
    ),
    # The constructions of ``vectors.best`` up to 2d classes, and a code behind a learned map above.
    Line(False, "else", lambda case: True, HeadSpec("auto", code_width="auto")),
    Line(
        True,
        "K ≤ d",
        lambda case: case.classes <= case.features,
        HeadSpec("random", learn_vectors=True),
        "K <= d: with learned vectors the cosine at the solved scale did best or nearly so",
        ("digits", "mnist", "characters 100", "cifar10", "cifar10, tail", "tiny-imagenet 20",
         "tiny-imagenet 100", "tiny-imagenet 100, tail"),
    ),
    Line(
        True,
        "K > d",
        lambda case: True,
        _RISING,
        "K > d: learned vectors that start at the class means, with a rising scale, did best or "
        "nearly so",
        ("digits, d 8", "characters 100, d 32", "characters 100, tail", "tiny-imagenet 100, d 64",
         "tiny-imagenet 200, d 64", "characters 1000, d 64"),
    ),
)  # fmt: skip
"""In this order; on a tail each with logit adjustment."""

ADJUSTED = (
    "classes are so unequal that logit adjustment pays",
    ("characters 100, tail", "cifar10, tail", "tiny-imagenet 100, tail"),
)
"""Why the loss is adjusted on a tail, and on which settings that rests."""


def line_for(case: Case, *, learned: bool) -> Line:
    """The line of the table that is taken."""
    return next(line for line in LINES if line.learned == learned and line.fits(case))


def settle(asked: HeadSpec, case: Case) -> tuple[HeadSpec, str | None]:
    """The head with every switch that was left to ``auto`` set, and why; other heads as they are.

    A switch that was given stays: ``auto@20`` is the head of the table at the scale 20.
    """
    if asked.logits != "auto":
        return asked, None
    line = line_for(case, learned=asked.learn_vectors)
    head, reasons = line.head, [line.reason] if line.reason else []
    if case.has_tail:
        head = replace(head, loss="logit-adjustment")
        reasons.append(ADJUSTED[0])
    given = {
        name: getattr(asked, name)
        for name in ("scale", "neck", "loss", "initial", "code_width")
        if getattr(asked, name) != "auto"
    }
    head = replace(head, **given, reweight=asked.reweight, bias=asked.bias or head.bias)
    return head, "; ".join(reasons) or None

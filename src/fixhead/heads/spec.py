"""Heads in words: presets such as ``random-cosine@20``, and specs that give every switch.

``vectors=codes,scale=auto,neck=mlp`` is a spec. A preset is a name for one; it may carry a scale
after ``@`` (a number, ``auto`` or ``learned``; ``@20:rising``), and ``learned-dot`` may carry
``:paired``, which starts it from the rows that ``random-dot`` freezes. ``:imprint`` after a preset
whose vectors are learned starts it from the data: ``learned-cosine:imprint@20:rising``. The parts
of a spec:

vectors   a construction of ``fixhead.vectors`` (``simplex:canonical`` and the like for its
          variants), ``auto`` for what ``fixhead.vectors.best`` takes, or as released
          (``heads.as_released``): ``linear``, ``hoffer-…``, ``yang-…``; ``implicit[:FAMILY]`` for
          codes that are never stored;
          ``quantised:BYTES`` for learned tables and so many bytes a class; ``stages:STAGES`` for
          sums of so many code rows behind learned maps
logits    cosine · dot · unit-features                                    default cosine
          auto, with vectors=auto: what the table of ``heads.auto`` takes for this K and d; so do
          neck, loss and initial that are auto
scale     a number · auto · learned · learned:START       default auto, and 1 for dot logits;
          NUMBER:rising or auto:rising for one that rises from a quarter over the run
bias      yes · no                                                        default no
learn     yes · no: whether the class vectors are trained                 default no
neck      none · batchnorm · linear[:WIDTH] · mlp[:WIDTH]                 default none
code_width  none · WIDTH · auto: class vectors so wide behind a learned map       default none
loss      a loss of ``fixhead.losses``, with :NUMBER for its option       default cross-entropy
reweight  never · EPOCH: class weights from that epoch on (LDAM's DRW)    default never
initial   own · imprint[:WHITENING] · class-means · discriminant[:WHITENING]: where learned vectors
          and a linear layer before them begin (``heads.imprint``)        default own
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from .._errors import RequestError
from ..many_classes.quantised import tables_of
from ..many_classes.staged import stages_of
from .imprint import parse_initial
from .init import IMPLICIT, check_scale, check_vectors
from .loss import parse_loss
from .necks import CodeWidth, check_code_width, parse_neck

LOGITS = ("cosine", "dot", "unit-features")


@dataclass(frozen=True)
class HeadSpec:
    """Every switch of a ClassificationHead, before K and d are known."""

    vectors: str
    logits: str = "cosine"
    scale: float | str = "auto"
    bias: bool = False
    learn_vectors: bool = False
    neck: str = "none"
    loss: str = "cross-entropy"
    reweight: int | None = None
    code_width: CodeWidth = None
    initial: str = "own"

    def __post_init__(self) -> None:
        check_vectors(self.vectors)
        if self.logits == "auto":
            self._check_left_open()
            return
        if self.logits not in LOGITS:
            raise RequestError(f"logits must be one of {', '.join(LOGITS)}, got {self.logits!r}")
        check_scale(self.scale, self.logits)
        parse_neck(self.neck, 1)
        check_code_width(self.code_width)
        if self.learn_vectors and self.vectors in IMPLICIT:
            raise RequestError(
                f"vectors={self.vectors} are never stored, and so cannot be learned; use "
                "learn=no, or vectors=codes,learn=yes"
            )
        if not self.learn_vectors and tables_of(self.vectors) is not None:
            raise RequestError(
                f"vectors={self.vectors} are tables that are learned, got learn=no; use learn=yes"
            )
        if not self.learn_vectors and stages_of(self.vectors) is not None:
            raise RequestError(
                f"vectors={self.vectors} are maps that are learned, got learn=no; use learn=yes"
            )
        parse_loss(self.loss)
        parse_initial(self.initial)
        if self.initial != "own" and not self.learn_vectors:
            raise RequestError(
                f"initial={self.initial} needs learned class vectors, got learn=no; use learn=yes, "
                "or a preset such as learned-cosine:imprint"
            )

    def _check_left_open(self) -> None:
        """Refuse what a head of the table of ``heads.auto`` cannot be given."""
        if self.vectors != "auto":
            raise RequestError(
                f"logits=auto goes with vectors=auto, got vectors={self.vectors}; give the logits"
            )
        if self.neck != "auto":
            parse_neck(self.neck, 1)
        if self.loss != "auto":
            parse_loss(self.loss)
        if self.initial != "auto":
            parse_initial(self.initial)
        check_scale(self.scale, "cosine")
        check_code_width(self.code_width)

    def __str__(self) -> str:
        """Part by part, as the records keep it and ``parse_head`` reads it.

        The start is said where it is not the head's own: records were written before there was one.
        """
        said = {"learn" if name == "learn_vectors" else name: value for name, value in self._all()}
        if self.initial == "own":
            del said["initial"]
        return ",".join(f"{word}={_said(word, value)}" for word, value in said.items())

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of ClassificationHead that this spec means."""
        return dict(self._all())

    def _all(self) -> list[tuple[str, Any]]:
        return [(item.name, getattr(self, item.name)) for item in fields(self)]


_LEFT_OPEN = HeadSpec("auto", "auto", neck="auto", loss="auto", code_width="auto", initial="auto")

PRESETS: dict[str, HeadSpec] = {
    # nn.Linear as everyone uses it
    "learned-dot": HeadSpec("linear", "dot", 1.0, bias=True, learn_vectors=True),
    # Wang et al. 2017 (NormFace); starts from random-cosine's rows
    "learned-cosine": HeadSpec("random", scale=1.0, learn_vectors=True),
    # Shalev et al. 2020
    "random-dot": HeadSpec("random", "dot", 1.0),
    "random-cosine": HeadSpec("random", scale=1.0),
    # Hoffer et al. 2018, repaired: unit rows, no row twice
    "orthonormal": HeadSpec("orthonormal", scale="learned"),
    "hadamard": HeadSpec("hadamard", scale="learned"),
    # Hoffer et al. 2018 as released
    "hoffer-projection": HeadSpec("hoffer-projection", "unit-features", "learned", bias=True),
    "hoffer-hadamard": HeadSpec("hoffer-hadamard", "unit-features", "learned", bias=True),
    # Yang et al. 2022
    "simplex": HeadSpec("simplex"),
    "simplex-dr": HeadSpec("simplex", neck="batchnorm", loss="dot-regression:batch"),
    # de la Calle et al. 2019
    "guided": HeadSpec("guided", "dot", 1.0, learn_vectors=True),
    # low coherence for K > d + 1
    "code": HeadSpec("codes", code_width="auto"),
    # what the table of heads.auto takes, with frozen and with learned vectors
    "auto": _LEFT_OPEN,
    "auto:learned": replace(_LEFT_OPEN, learn_vectors=True),
}

PAIRED = "learned-dot:paired"
IMPRINT = ":imprint"


def parse_head(text: str) -> HeadSpec:
    """What a preset (``"learned-cosine@20"``) or a spec (``"vectors=codes,…"``) means.

    Raises:
        RequestError: an unknown preset or part, or values that do not go together.
    """
    if "=" in text:
        return _parse_parts(text)
    word, at, scale = text.partition("@")
    preset = word.removesuffix(IMPRINT)
    if preset == PAIRED:
        spec = replace(PRESETS["learned-dot"], vectors="random")
    elif preset in PRESETS:
        spec = PRESETS[preset]
    else:
        raise RequestError(
            f"head must be one of {', '.join(PRESETS)} (or {PAIRED}), learned ones with an "
            f"optional {IMPRINT}, with an optional @scale, or a spec vectors=…,logits=…, "
            f"got {text!r}"
        )
    said: dict[str, Any] = {"scale": _scale(scale)} if at else {}
    if preset != word:
        said["initial"] = IMPRINT.removeprefix(":")
    return replace(spec, **said)


def split_heads(text: str) -> tuple[str, ...]:
    """The heads of ``--heads``: separated by commas or semicolons.

    Commas also stand inside a spec: a part with ``=`` goes on with the spec before it, and
    ``vectors=`` begins a new one.
    """
    heads: list[str] = []
    for group in text.split(";"):
        inside_spec = False
        for part in (piece.strip() for piece in group.split(",")):
            if not part:
                continue
            if "=" in part and inside_spec and not part.startswith("vectors="):
                heads[-1] += f",{part}"
            else:
                heads.append(part)
                inside_spec = "=" in part
    return tuple(heads)


def _parse_parts(text: str) -> HeadSpec:
    """``"vectors=codes,logits=cosine,scale=auto"`` → HeadSpec; parts left out have defaults."""
    said: dict[str, Any] = {}
    readers: dict[str, Callable[[str], Any]] = {
        "vectors": str, "logits": str, "scale": _scale, "bias": _yes, "learn": _yes,
        "neck": str, "loss": str, "reweight": _epoch, "code_width": _width,
        "initial": str,
    }  # fmt: skip
    for part in text.split(","):
        word, equals, value = (piece.strip() for piece in part.partition("="))
        word = "learn" if word == "learn_vectors" else word
        if word not in readers or not equals or not value:
            raise RequestError(
                f"a head's spec needs parts NAME=VALUE out of {', '.join(readers)}, "
                f"got {part.strip()!r}"
            )
        if word in said:
            raise RequestError(f"a head's spec says {word} once, got it twice in {text!r}")
        said[word] = readers[word](value)
    if "vectors" not in said:
        raise RequestError(f"a head's spec needs vectors=…, got {text!r}")
    said.setdefault("scale", 1.0 if said.get("logits") == "dot" else "auto")
    return HeadSpec(learn_vectors=said.pop("learn", False), **said)


def _scale(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _yes(text: str) -> bool:
    if text not in ("yes", "no"):
        raise RequestError(f"bias and learn are yes or no in a head's spec, got {text!r}")
    return text == "yes"


def _epoch(text: str) -> int | None:
    if text == "never":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise RequestError(f"reweight must be never or an epoch from 1 up, got {text!r}")
    return int(text)


def _width(text: str) -> CodeWidth:
    if text == "none":
        return None
    return int(text) if text.isdecimal() else text


def _said(word: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "never" if word == "reweight" else "none"
    return f"{value:g}" if isinstance(value, float | int) else str(value)

"""Heads said in words: presets, and sentences such as ``vectors=codes,scale=auto,neck=mlp``.

vectors   a construction of ``fixhead.vectors`` (``simplex:canonical`` and the like for its
          variants), ``linear``, ``auto``, or as released (``heads.published``): ``hoffer-…``,
          ``yang-…``; ``implicit[:FAMILY]`` for codes that are never stored
logits    cosine · dot · unit-features                                    default cosine
scale     a number · auto · learned · learned:START       default auto, and 1 for dot logits
bias      yes · no                                                        default no
learn     yes · no: whether the class vectors are trained                 default no
neck      none · batchnorm · linear[:WIDTH] · mlp[:WIDTH]                 default none
code_width  none · WIDTH · auto: class vectors so wide behind a learned map       default none
loss      a loss of ``fixhead.losses``, with :NUMBER for its option       default cross-entropy
reweight  never · EPOCH: class weights from that epoch on (LDAM's DRW)    default never
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from .. import vectors as constructions
from .._errors import RequestError
from .code import IMPLICIT
from .lift import CodeWidth, check_code_width
from .necks import parse_neck
from .objective import parse_loss
from .published import PUBLISHED

VARIANTS: dict[str, dict[str, Any]] = {
    "simplex:canonical": {"rotate": False},
    "random:released": {"released": True},
    "guided:circular": {"order": "circular"},
    "guided:valley": {"order": "valley"},
    "codes:random": {"family": "random"},
    **{name: options for name, options in IMPLICIT.items() if options},
}
"""Options of constructions that a sentence can name."""

SPECIAL = ("linear", "auto", "implicit", *PUBLISHED)
"""Vectors that are no construction of ``fixhead.vectors``."""

LOGITS = ("cosine", "dot", "unit-features")


@dataclass(frozen=True)
class HeadSpec:
    """Every switch of a ClassificationHead, before K and d are known."""

    vectors: str
    logits: str = "cosine"
    scale: float | str = "auto"
    bias: bool = False
    learn: bool = False
    neck: str = "none"
    loss: str = "cross-entropy"
    reweight: int | None = None
    code_width: CodeWidth = None

    def __post_init__(self) -> None:
        check_vectors(self.vectors)
        if self.logits not in LOGITS:
            raise RequestError(f"logits must be one of {', '.join(LOGITS)}, got {self.logits!r}")
        check_scale(self.scale, self.logits)
        parse_neck(self.neck, 1)
        check_code_width(self.code_width)
        if self.learn and self.vectors in IMPLICIT:
            raise RequestError(
                f"vectors={self.vectors} are never stored, and so cannot be learned; use "
                "learn=no, or vectors=codes,learn=yes"
            )
        parse_loss(self.loss)

    @property
    def sentence(self) -> str:
        """The head said part by part, as the records keep it."""
        named = {item.name: getattr(self, item.name) for item in fields(self)}
        return ",".join(f"{name}={_word(name, value)}" for name, value in named.items())

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of ClassificationHead that this sentence means."""
        named = {item.name: getattr(self, item.name) for item in fields(self)}
        named["learn_vectors"] = named.pop("learn")
        return named


def parse_sentence(text: str) -> HeadSpec:
    """``"vectors=codes,logits=cosine,scale=auto"`` → HeadSpec; parts left out have defaults.

    Raises:
        RequestError: a part that is unknown, said twice or left empty, or vectors left out.
    """
    said: dict[str, Any] = {}
    readers: dict[str, Callable[[str], Any]] = {
        "vectors": str, "logits": str, "scale": _scale, "bias": _yes, "learn": _yes,
        "neck": str, "loss": str, "reweight": _epoch, "code_width": _width,
    }  # fmt: skip
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name not in readers or not equals or not value:
            raise RequestError(
                f"a head's sentence needs parts NAME=VALUE out of {', '.join(readers)}, "
                f"got {part.strip()!r}"
            )
        if name in said:
            raise RequestError(f"a head's sentence says {name} once, got it twice in {text!r}")
        said[name] = readers[name](value)
    if "vectors" not in said:
        raise RequestError(f"a head's sentence needs vectors=…, got {text!r}")
    said.setdefault("scale", 1.0 if said.get("logits") == "dot" else "auto")
    return HeadSpec(**said)


def check_vectors(text: str) -> None:
    """Refuse vectors that no construction, variant or special word names."""
    name = text.partition(":")[0]
    if name in SPECIAL or (name in constructions.CONSTRUCTIONS and name != "from_tensor"):
        if ":" not in text or text in VARIANTS:
            return
        raise RequestError(
            f"vectors={name} has the variants "
            f"{', '.join(key for key in VARIANTS if key.startswith(name)) or 'none'}, got {text!r}"
        )
    known = [key for key in constructions.CONSTRUCTIONS if key != "from_tensor"]
    raise RequestError(f"vectors must be one of {', '.join([*known, *SPECIAL])}, got {text!r}")


def check_scale(scale: float | str, logits: str) -> None:
    """Refuse a scale that is none, or that these logits cannot have."""
    if isinstance(scale, str):
        if scale != "auto" and split_learned(scale) is None:
            raise RequestError(
                f"scale must be a number above 0, 'auto' or 'learned', got {scale!r}"
            )
    elif isinstance(scale, bool) or not isinstance(scale, int | float):
        raise RequestError(f"scale must be a number above 0, 'auto' or 'learned', got {scale!r}")
    elif not (math.isfinite(scale) and scale > 0):
        raise RequestError(f"scale must be a finite number above 0, got {scale}")
    if scale == "auto" and logits != "cosine":
        raise RequestError(
            f"scale='auto' needs cosine logits, got logits={logits!r}: there the vectors' and "
            "features' own lengths already scale; give a number, or use logits='cosine'"
        )


def split_learned(scale: str) -> tuple[str, float | None] | None:
    """``"learned:3"`` → ("learned", 3.0); None where the text means no learned scale."""
    word, colon, start = scale.partition(":")
    if word != "learned":
        return None
    if not colon:
        return word, None
    try:
        value = float(start)
    except ValueError:
        return None
    return (word, value) if math.isfinite(value) and value > 0 else None


def with_scale(spec: HeadSpec, text: str) -> HeadSpec:
    """The same head at the scale that follows the @ of a preset."""
    return replace(spec, scale=_scale(text))


def _scale(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _yes(text: str) -> bool:
    if text not in ("yes", "no"):
        raise RequestError(f"bias and learn are yes or no in a head's sentence, got {text!r}")
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


def _word(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "never" if name == "reweight" else "none"
    return f"{value:g}" if isinstance(value, float | int) else str(value)

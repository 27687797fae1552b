"""Short names for heads: ``random-cosine@20`` is a sentence about every switch.

A preset may carry a scale after ``@`` (a number, ``auto`` or ``learned``), and ``learned-dot`` may
carry ``:paired``, which starts it from the rows that ``random-dot`` freezes.
"""

from __future__ import annotations

from dataclasses import replace

from .._errors import RequestError
from .grammar import HeadSpec, parse_sentence, with_scale

PRESETS: dict[str, HeadSpec] = {
    # nn.Linear as everyone uses it
    "learned-dot": HeadSpec("linear", "dot", 1.0, bias=True, learn=True),
    # Wang et al. 2017 (NormFace); starts from random-cosine's rows
    "learned-cosine": HeadSpec("random", scale=1.0, learn=True),
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
    "guided": HeadSpec("guided", "dot", 1.0, learn=True),
    # low coherence for K > d + 1
    "code": HeadSpec("codes", code_width="auto"),
    # whatever fixhead.vectors.best recommends up to 2d classes, then as code
    "auto": HeadSpec("auto", code_width="auto"),
}

PAIRED = "learned-dot:paired"


def parse_head(text: str) -> HeadSpec:
    """What a preset (``"learned-cosine@20"``) or a sentence (``"vectors=codes,…"``) means.

    Raises:
        RequestError: an unknown preset or part, or values that do not go together.
    """
    if "=" in text:
        return parse_sentence(text)
    preset, at, scale = text.partition("@")
    if preset == PAIRED:
        spec = replace(PRESETS["learned-dot"], vectors="random")
    elif preset in PRESETS:
        spec = PRESETS[preset]
    else:
        raise RequestError(
            f"head must be one of {', '.join(PRESETS)} (or {PAIRED}), with an optional @scale, or "
            f"a sentence vectors=…,logits=…, got {text!r}"
        )
    return with_scale(spec, scale) if at else spec


def split_heads(text: str) -> tuple[str, ...]:
    """The heads of ``--heads``: separated by commas or semicolons.

    Commas also stand inside a sentence: a part with ``=`` goes on with the sentence before it,
    and ``vectors=`` begins a new one.
    """
    heads: list[str] = []
    for group in text.split(";"):
        open_sentence = False
        for part in (piece.strip() for piece in group.split(",")):
            if not part:
                continue
            if "=" in part and open_sentence and not part.startswith("vectors="):
                heads[-1] += f",{part}"
            else:
                heads.append(part)
                open_sentence = "=" in part
    return tuple(heads)

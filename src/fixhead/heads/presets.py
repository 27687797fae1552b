"""Short names for heads: ``random-cosine@20`` is a sentence about every switch.

A preset may carry a scale after ``@`` (a number, ``auto`` or ``learned``), and ``learned-dot`` may
carry ``:paired``, which starts it from the rows that ``random-dot`` freezes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from .._errors import RequestError


@dataclass(frozen=True)
class HeadSpec:
    """Every switch of a ClassificationHead, before K and d are known."""

    vectors: str
    logits: str
    scale: float | str = 1.0
    bias: bool = False
    learn_vectors: bool = False

    @property
    def sentence(self) -> str:
        """The head said part by part, as the records keep it."""
        scale = f"{self.scale:g}" if isinstance(self.scale, float) else self.scale
        yes = {True: "yes", False: "no"}
        return (
            f"vectors={self.vectors},logits={self.logits},scale={scale},"
            f"bias={yes[self.bias]},learn={yes[self.learn_vectors]}"
        )

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of ClassificationHead that this sentence means."""
        return {
            "vectors": self.vectors,
            "logits": self.logits,
            "scale": self.scale,
            "bias": self.bias,
            "learn_vectors": self.learn_vectors,
        }


PRESETS: dict[str, HeadSpec] = {
    # nn.Linear as everyone uses it
    "learned-dot": HeadSpec("linear", "dot", bias=True, learn_vectors=True),
    # Wang et al. 2017 (NormFace); starts from random-cosine's rows
    "learned-cosine": HeadSpec("random", "cosine", learn_vectors=True),
    # Shalev et al. 2020
    "random-dot": HeadSpec("random", "dot"),
    "random-cosine": HeadSpec("random", "cosine"),
    # Hoffer et al. 2018
    "orthonormal": HeadSpec("orthonormal", "cosine", scale="learned"),
    "hadamard": HeadSpec("hadamard", "cosine", scale="learned"),
    # Yang et al. 2022
    "simplex": HeadSpec("simplex", "cosine", scale="auto"),
}

PAIRED = "learned-dot:paired"


def parse_head(name: str) -> HeadSpec:
    """The sentence that a preset names, e.g. ``"learned-cosine@20"``.

    Raises:
        RequestError: an unknown preset, or a scale that is none.
    """
    preset, at, scale = name.partition("@")
    if preset == PAIRED:
        spec = replace(PRESETS["learned-dot"], vectors="random")
    elif preset in PRESETS:
        spec = PRESETS[preset]
    else:
        raise RequestError(
            f"head must be one of {', '.join(PRESETS)} (or {PAIRED}), with an optional @scale, "
            f"got {name!r}"
        )
    if not at:
        return spec
    spec = replace(spec, scale=_parse_scale(scale, name))
    if spec.scale == "auto" and spec.logits == "dot":
        raise RequestError(
            f"{name!r} asks for an automatic scale on dot logits, where the features' length "
            "already scales; give a number after @, or use a cosine head"
        )
    return spec


def _parse_scale(text: str, name: str) -> float | str:
    if text in ("auto", "learned"):
        return text
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not (math.isfinite(scale) and scale > 0):
        raise RequestError(
            f"the scale after @ must be a number above 0, 'auto' or 'learned', got {name!r}"
        )
    return scale

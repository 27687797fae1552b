"""Two-dimensional heads: which part of the circle of directions each class owns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..geometry.areas import Logits, decision_areas, sectors, vanished
from .plain import plain


def turn(vectors: Tensor, logits: str, *, bias: bool) -> list[list[float]] | None:
    """[label, start, stop] (radians, counter-clockwise) of every sector of vectors (K, 2).

    None where there are none: a bias lets decisions depend on the feature's length. Unit-features
    logits S ⟨w, x⟩/‖x‖ are cut as dot logits are: both order ⟨w, x⟩.
    """
    if bias:
        return None
    found = sectors(vectors.detach().cpu(), logits=_kind(logits))
    return [[one.label, round(one.start, 5), round(one.stop, 5)] for one in found]


def _kind(logits: str) -> Logits:
    return "cosine" if logits == "cosine" else "dot"


def describe_areas(
    vectors: Tensor, logits: str, *, bias: bool, names: Sequence[str]
) -> dict[str, Any] | None:
    """Shares (K,), sectors and the classes without one, for vectors (K, 2); None for d ≠ 2.

    ``reason`` says why a head has no sectors.
    """
    if vectors.shape[1] != 2:
        return None
    if bias:
        return {"reason": "a head with a bias has no sectors: lengths count as well as directions"}
    kind = _kind(logits)
    rows = vectors.detach().cpu()
    shares = decision_areas(rows, logits=kind)
    return {
        "reason": None,
        "shares": plain(shares),
        "sectors": [
            {"label": one.label, "start": one.start, "stop": one.stop}
            for one in sectors(rows, logits=kind)
        ],
        "vanished": [names[place] for place in vanished(shares).nonzero().flatten().tolist()],
    }

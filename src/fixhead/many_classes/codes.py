"""Implicit codes for any number of classes and any number of features."""

from __future__ import annotations

import torch

from .._errors import RequestError
from .._seeds import default_generator_or
from ..vectors.coding import find_code
from ..vectors.forms import algebraic, random_signs
from ..vectors.implicit import CodeVectors
from ..vectors.sylvester import next_power_of_two
from .vectors import SMALLEST, ClassVectors, Codes, Generated

FAMILIES = ("auto", "gold", "kerdock", "delsarte-goethals", "random")


def implicit(
    classes: int,
    features: int,
    *,
    family: str = "auto",
    generator: torch.Generator | None = None,
) -> ClassVectors:
    """K unit vectors w = rows of H D_b s/√d that are never stored: about K/8 bytes of signs.

    For d = 2^m ≥ 16 they are the vectors of ``fixhead.vectors.codes``, in the same order and from
    the same generator. For other d they are d drawn columns of a code at the next power of two, of
    norm 1 and measured, not proved, coherence (``certificate``): ``codes`` may prefer codes laid
    side by side there, which have no transform of their own. Below 16 rows are made one by one.

        vectors = implicit(classes=1_000_000, features=512)

    Source: as ``fixhead.vectors.codes``.

    Raises:
        RequestError: a family that does not exist at this d, or holds fewer vectors than K: the
            sentence names the largest K and the next family.
    """
    generator = default_generator_or(generator)
    if family not in FAMILIES:
        raise RequestError(f"family must be one of {', '.join(FAMILIES)}, got {family!r}")
    power = features == next_power_of_two(features)
    if features < SMALLEST:
        code = find_code(classes, features, family=family, max_cosine=1.0, generator=generator)
        return Generated(code.vectors, norm=1.0, construction=code.name)
    if power and family != "random":
        code = find_code(classes, features, family=family, max_cosine=1.0, generator=generator)
        assert isinstance(code.vectors, CodeVectors)
        return Codes(code.vectors, construction=code.name)
    return _columns(classes, features, family, generator)


def _columns(classes: int, features: int, family: str, generator: torch.Generator) -> Codes:
    """d drawn columns of the least coherent code that holds K at the next power of two."""
    order = next_power_of_two(features)
    m = order.bit_length() - 1
    if family not in ("auto", "random"):
        raise RequestError(
            f"family={family!r} needs features as a power of two, got features={features}; "
            f"use features={order} or {order // 2}, or family='auto'"
        )
    fitting = [f for f in algebraic(m) if f.blocks is not None and f.blocks * order >= classes]
    if family == "auto" and fitting:
        chosen = fitting[0]
    else:
        seed = int(torch.randint(1 << 62, (1,), generator=generator))
        chosen = random_signs(m, seed)
    columns = None
    if features < order:
        columns = torch.randperm(order, generator=generator)[:features].sort().values
    coin = torch.randint(2, (features,), generator=generator, dtype=torch.uint8)
    code = CodeVectors(chosen, classes, 1.0 - 2.0 * coin.float(), columns)
    name = chosen.name if columns is None else f"{features} of {order} columns of {chosen.name}"
    return Codes(code, construction=name)

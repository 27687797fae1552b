"""Independent random directions."""

from __future__ import annotations

import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import default_generator_or
from ._request import check_dtype, check_flag, check_size
from .rows import first_equal

_REDRAWS = 100

_BLOCK = 4_096
"""Rows drawn in float64 at a time. A multiple of 16, as torch draws normal numbers by sixteens:
the values are those of one large draw."""


def random(
    classes: int,
    features: int,
    *,
    released: bool = False,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """w_k = g_k / ‖g_k‖ with g_k ~ N(0, I_d): uniform on the sphere. Shape (K, d), any K and d.

    Cosines of two rows have mean 0 and standard deviation 1/√d.

    ``released=True`` draws g_k uniformly from the whole numbers −100 … 99 in each coordinate, as
    the code that Shalev et al. published does; those directions lean slightly to the corners of
    the cube, and their mean is −0.5/57.7 per coordinate instead of 0.

    Source: Shalev et al. 2020, section 2; ``run_stl.py`` of their release for the variant.

    Raises:
        RequestError: K, d or dtype do not make sense, or no K rows differ in this dtype (rows
            that coincide are drawn again, a hundred times at most).
    """
    check_size("random", classes, features)
    check_dtype("random", dtype)
    check_flag("random", "released", released)
    generator = default_generator_or(generator)
    draw = _whole_numbers if released else _normal
    rows = torch.empty(classes, features, dtype=dtype)
    for start in range(0, classes, _BLOCK):
        block = rows[start : start + _BLOCK]
        block.copy_(draw(block.shape[0], features, generator)).add_(0.0)  # −0 becomes 0
    for _ in range(_REDRAWS):
        first = first_equal(rows)
        again = (first != torch.arange(classes)).nonzero().squeeze(1)
        if again.numel() == 0:
            return rows
        rows[again] = draw(again.numel(), features, generator).to(dtype) + 0.0
    raise RequestError(
        f"random() needs {classes} distinct rows, got {classes - again.numel()} with "
        f"features={features} in {dtype} after {_REDRAWS} redraws; try more features, a wider "
        "dtype or fewer classes"
    )


def _normal(rows: int, features: int, generator: torch.Generator) -> Tensor:
    draws = torch.randn(rows, features, generator=generator, dtype=torch.float64)
    return _directions(draws)


def _whole_numbers(rows: int, features: int, generator: torch.Generator) -> Tensor:
    draws = torch.randint(-100, 100, (rows, features), generator=generator).double()
    while (zero := (draws == 0).all(dim=1)).any():  # no direction; happens for small d only
        shape = (int(zero.sum()), features)
        draws[zero] = torch.randint(-100, 100, shape, generator=generator).double()
    return _directions(draws)


def _directions(draws: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(draws, dim=1, keepdim=True)
    return draws.div_(norms)

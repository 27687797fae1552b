"""Checks that every construction shares: sizes that mean something, rows that stay apart."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .._errors import RequestError
from .rows import count_distinct


def check_size(name: str, classes: int, features: int) -> None:
    """K whole and at least 2, d whole and at least 1.

    Raises:
        RequestError: naming the argument and what came.
    """
    for argument, value, least in (("classes", classes, 2), ("features", features, 1)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise RequestError(f"{name}() needs {argument} as a whole number, got {value!r}")
        if value < least:
            raise RequestError(f"{name}() needs {argument} >= {least}, got {argument}={value}")


def own_options(make: Callable[..., object]) -> dict[str, bool]:
    """Names of a construction's own options, and whether each must be given."""
    shared = {"classes", "features", "generator", "dtype"}
    return {
        name: parameter.default is inspect.Parameter.empty
        for name, parameter in inspect.signature(make).parameters.items()
        if name not in shared
    }


def check_options(name: str, make: Callable[..., object], options: Mapping[str, object]) -> None:
    """Every option known, and none missing that the construction cannot do without.

    Raises:
        RequestError: with the list of options.
    """
    own = own_options(make)
    for option in options:
        if option not in own:
            known = ", ".join(own) or "none"
            raise RequestError(f"{name}() has no option {option!r}; its options: {known}")
    for option, needed in own.items():
        if needed and option not in options:
            raise RequestError(f"{name}() needs {option}=…, got no such option")


def check_dtype(name: str, dtype: torch.dtype) -> None:
    """A real floating type: class vectors are directions."""
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise RequestError(
            f"{name}() needs a floating dtype, got {dtype}; torch.float32 is the default"
        )


def check_flag(name: str, argument: str, value: object) -> None:
    if not isinstance(value, bool):
        raise RequestError(f"{name}() needs {argument} as True or False, got {value!r}")


def stored(name: str, rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Float64 rows (K, d) in the stored type, where no two of them may have become equal.

    Raises:
        RequestError: the type is too coarse to keep the rows apart.
    """
    kept = rows.to(dtype) + 0.0  # −0 becomes 0: equal rows have equal bits
    distinct = count_distinct(kept)
    if distinct < kept.shape[0]:
        raise RequestError(
            f"{name}() needs a dtype in which all {kept.shape[0]} rows differ, got {dtype} with "
            f"{distinct} distinct rows; try a wider dtype, more features or fewer classes"
        )
    return kept

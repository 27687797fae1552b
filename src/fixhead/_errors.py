"""What fixhead says when it cannot do what was asked.

RequestError(ValueError)                the request cannot be met as asked
└── MissingExtraError(ImportError)      ... because an optional package is not installed
PerformanceWarning(UserWarning)         it is done, at a cost that another way would not have
"""

from __future__ import annotations

import importlib
from types import ModuleType


class RequestError(ValueError):
    """The request cannot be met as asked.

    The message is one sentence: the argument, what was needed, what came, what to try.
    The command line prints it and exits with status 2.
    """


class MissingExtraError(RequestError, ImportError):
    """An optional package is missing; the message says which extra installs it."""


class PerformanceWarning(UserWarning):
    """What was asked for costs much more time or memory than another way to the same end."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional ``module``, or say which extra of fixhead installs it.

    Raises:
        MissingExtraError: the module (or its parent package) is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or module.split(".")[0] != error.name.split(".")[0]:
            raise  # the package is there, and something inside it is broken
        raise MissingExtraError(
            f'{error.name} is needed here and is not installed; try: pip install "fixhead[{extra}]"'
        ) from error

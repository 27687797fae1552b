"""The command line: each command parses and calls, nothing else.

Exit status: 0 done; 2 the request cannot be met as asked, with one sentence on standard error;
1 anything else.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings

from .._errors import RequestError, require

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def main() -> None:
    """Run the command line and leave with its exit status."""
    # Threads that wait by spinning take the processor from the very threads they wait for, on any
    # machine that is not idle. Read when torch is first imported, so it has to be said here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.formatwarning = _one_line
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit status of ``fixhead ARGUMENTS``; what it says goes to the standard streams."""
    try:
        typer = require("typer", extra="lab")
        from .app import app

        # Typer brings its own Click or the public one, by version; its exceptions show which.
        click_exception = typer.BadParameter.__mro__[2]
        try:
            code = app(arguments, standalone_mode=False)
        except typer.Abort:
            return _refuse("stopped by the keyboard; what was finished is kept", status=130)
        except click_exception as error:
            return _refuse(error.format_message().rstrip("."), status=error.exit_code)
        return code if isinstance(code, int) else 0
    except RequestError as error:
        return _refuse(str(error))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; there is nobody to tell
        return 1
    except OSError as error:
        if error.errno in DISK_FULL:
            return _refuse(
                f"the disk is full ({error.filename or 'while writing'}): the finished runs are "
                "whole and readable; make room and start the same command again"
            )
        raise


def _one_line(message: Warning | str, *_: object, **__: object) -> str:
    """A warning as a person reads it: what, and no line of source."""
    return f"fixhead: warning: {message}\n"


def _refuse(sentence: str, status: int = 2) -> int:
    print(f"fixhead: {sentence}", file=sys.stderr)
    return status

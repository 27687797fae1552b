"""Carrying on a run that was stopped: one file, written whole, removed when the run is done."""

from __future__ import annotations

import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .._errors import RequestError
from .._files import remove_drafts, replace_file
from ..runs.layout import CHECKPOINT_FOLDER, CHECKPOINT_SCHEMA


class RunCheckpoint:
    """``RUN_DIR/checkpoint/state.pt``: everything a run needs to go on from an epoch's end.

    Args:
        run_dir: the run's folder; None keeps nothing.
        identity: what must agree between the run that saved and the run that goes on.
        every_s: seconds between two saves, so that short runs spend no time on them.
    """

    def __init__(self, run_dir: Path | None, identity: Mapping[str, Any], every_s: float) -> None:
        self._path = None if run_dir is None else run_dir / CHECKPOINT_FOLDER / "state.pt"
        self._identity = {"format": CHECKPOINT_SCHEMA, **identity}
        self._every_s = every_s
        self._saved_at = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to save again."""
        return self._path is not None and time.monotonic() - self._saved_at >= self._every_s

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep ``state`` in place of what was kept before; nothing without a run folder."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = {"identity": self._identity, **state}
        replace_file(self._path, lambda draft: torch.save(content, draft))
        self._saved_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The saved state, on the CPU, or None where the run starts anew.

        Raises:
            RequestError: the file cannot be read, or belongs to another run.
        """
        if self._path is None or not self._path.exists():
            return None
        state = _read(self._path)
        self._check(state.pop("identity"))
        return state

    def remove(self) -> None:
        """The run is done: nothing is left to carry on."""
        if self._path is None:
            return
        self._path.unlink(missing_ok=True)
        remove_drafts(self._path)
        if self._path.parent.is_dir() and not any(self._path.parent.iterdir()):
            self._path.parent.rmdir()

    def _check(self, theirs: Mapping[str, Any]) -> None:
        for name, ours in self._identity.items():
            if theirs.get(name) != ours:
                assert self._path is not None
                raise RequestError(
                    f"{self._path} belongs to a run with {name} = {theirs.get(name)!r}, and this "
                    f"one has {ours!r}; name another folder, or delete that file to start anew"
                )


def _read(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError) as error:
        reason = str(error).partition("\n")[0] or "it ends too early"
        raise RequestError(
            f"{path} cannot be read as a checkpoint ({reason}); delete it to start the run anew"
        ) from error
    if not isinstance(state, dict) or "identity" not in state:
        raise RequestError(f"{path} is no checkpoint of fixhead; delete it to start the run anew")
    return state


def remove_checkpoint(run_dir: Path) -> None:
    """Take away what ``train(..., keep_checkpoint=True)`` left."""
    RunCheckpoint(run_dir, {}, 0.0).remove()

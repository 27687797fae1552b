"""The rows of a run, one per epoch, and the file that grows with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..runs.layout import HISTORY_FILE
from ..runs.records import append, rewrite

Row = dict[str, Any]
"""epoch (from 1), lr (of the epoch's first step), train_loss, train_accuracy, val_loss,
val_accuracy, seconds (of the whole epoch), images_per_second (of its training part); with
choose_on="balanced_accuracy" also val_balanced_accuracy, with a watch also collapse, where the
head's scale rises also scale (of the epoch's last step). Accuracies are fractions; losses nats;
what concerns validation is None where there is no validation split."""


class HistoryFile:
    """``RUN_DIR/history.jsonl``; nothing is written where there is no run folder."""

    def __init__(self, run_dir: Path | None) -> None:
        self._path = None if run_dir is None else run_dir / HISTORY_FILE

    def rewrite(self, rows: Sequence[Row]) -> None:
        """Exactly these rows: what an earlier process wrote past its checkpoint is dropped."""
        if self._path is not None:
            rewrite(self._path, rows)

    def append(self, row: Row) -> None:
        if self._path is not None:
            append(self._path, row, sync=False)  # a checkpoint, not this file, carries the run on

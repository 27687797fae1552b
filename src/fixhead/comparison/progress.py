"""What a person sees while a comparison runs: on standard error, plain lines without a terminal."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from ..runs.layout import COMPUTED_SCHEMA, RUN_SCHEMA
from ..runs.records import Record
from ..runs.store import Tell
from ..training import Progress, progress_for
from ..training.history import Row

REPORT_EVERY_S = 0.25
"""Seconds between two reports of a run: telling makes it wait for its device."""


class ComparisonProgress:
    """Which run of how many, and a bar or lines for the run in hand."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._total = self._done = 0
        self._runs: dict[str, Progress] = {}

    def begin(self, total: int, done: int) -> None:
        self._total, self._done = total, done
        if done == total:
            self.say(f"All {total} runs are done already.")
        elif done:
            self.say(f"{done} of {total} runs are done already; carrying on.")

    def hear(self, run_id: str, kind: str, *facts: Any) -> None:
        """Show what a run tells of its epochs and steps, as ``RunProgress`` passes it on."""
        if kind == "begin":
            title = f"[{self._done + 1}/{self._total}] {run_id}"
            self._runs[run_id] = progress_for(title, self._stream)
        shown = self._runs[run_id]
        if kind != "report" or shown.due():
            getattr(shown, kind)(*facts)
        if kind == "end":
            del self._runs[run_id]

    def recorded(self, record: Record) -> None:
        schema = record.get("schema")
        if schema == RUN_SCHEMA:
            self._done += 1
            self.say(f"[{self._done}/{self._total}] {record['run_id']}{_outcome(record)}")
        elif schema == COMPUTED_SCHEMA:
            self._done += 1
            self.say(f"{record['run_id']}: computed")

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class RunProgress:
    """The progress of one run, told to whoever asked for the run, perhaps another process."""

    def __init__(self, tell: Tell, every_s: float = REPORT_EVERY_S) -> None:
        self._tell, self._every_s = tell, every_s
        self._last = 0.0

    def begin(self, epochs: int, steps: int, done: int) -> None:
        self._tell("begin", epochs, steps, done)
        self._last = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._last >= self._every_s

    def report(self, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        self._tell("report", epoch, step, loss, images_per_second)
        self._last = time.monotonic()

    def epoch(self, row: Row) -> None:
        self._tell("epoch", row)

    def end(self) -> None:
        self._tell("end")


def _outcome(record: Record) -> str:
    if record["status"] == "failed":
        return f" failed: {record['error'].strip().splitlines()[-1]}"
    rates = (("validation", record["val_accuracy"]), ("test", record.get("test_accuracy")))
    figures = ", ".join(f"{name} {100 * rate:.2f} %" for name, rate in rates if rate is not None)
    return f": {figures} in {record['train_seconds']:.1f} s"

"""What a person sees while a comparison runs: on standard error, plain lines without a terminal."""

from __future__ import annotations

import sys
from typing import TextIO

from ..runs.records import Record
from ..training import Progress, progress_for


class ComparisonProgress:
    """Which run of how many, and a bar or lines for the run in hand."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._total = self._done = 0

    def begin(self, total: int, done: int) -> None:
        self._total, self._done = total, done
        if done == total:
            self.say(f"All {total} runs are done already.")
        elif done:
            self.say(f"{done} of {total} runs are done already; carrying on.")

    def of_run(self, run_id: str) -> Progress:
        """The progress of one run's epochs and steps."""
        return progress_for(f"[{self._done + 1}/{self._total}] {run_id}", self._stream)

    def finished(self, row: Record) -> None:
        self._done += 1
        if row["status"] == "failed":
            last = row["error"].strip().splitlines()[-1]
            self.say(f"[{self._done}/{self._total}] {row['run_id']} failed: {last}")
            return
        rates = (("validation", row["val_accuracy"]), ("test", row.get("test_accuracy")))
        figures = ", ".join(
            f"{name} {100 * rate:.2f} %" for name, rate in rates if rate is not None
        )
        took = f"{row['train_seconds']:.1f} s"
        self.say(f"[{self._done}/{self._total}] {row['run_id']}: {figures} in {took}")

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

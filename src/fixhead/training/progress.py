"""What a person sees of a run: a bar on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol, TextIO

from ..runs.records import Record

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

BAR_EVERY_S = 0.25
LINE_EVERY_S = 5.0


class Progress(Protocol):
    """What the loop reports to; it asks ``due`` first, because a report waits for the device."""

    def begin(self, epochs: int, steps: int, done: int) -> None:
        """A run of so many epochs and steps per epoch, the first ``done`` epochs done before."""

    def due(self) -> bool:
        """Whether the loop should report now; asked after every step."""

    def report(self, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """In epoch ``epoch`` (from 1), ``step`` steps (from 1) are done."""

    def epoch(self, row: Record) -> None:
        """An epoch and its validation are done."""

    def end(self) -> None:
        """The run is over, well or not."""


class SilentProgress:
    """Says nothing."""

    def begin(self, epochs: int, steps: int, done: int) -> None: ...

    def due(self) -> bool:
        return False

    def report(self, epoch: int, step: int, loss: float, images_per_second: float) -> None: ...

    def epoch(self, row: Record) -> None: ...

    def end(self) -> None: ...


def progress_for(
    title: str | None, stream: TextIO | None = None, table: RichProgress | None = None
) -> Progress:
    """A bar where ``stream`` (standard error by default) is a terminal, else lines.

    ``title=None`` is silent; ``table`` is a live table that has other runs' bars too.
    """
    stream = sys.stderr if stream is None else stream
    if title is None:
        return SilentProgress()
    if not stream.isatty():
        return LineProgress(title, stream)
    return BarProgress(title, stream, table=table)


class LineProgress:
    """A line every few seconds and one at the end, for logs."""

    def __init__(self, title: str, stream: TextIO, every_s: float = LINE_EVERY_S) -> None:
        self._title, self._stream, self._every_s = title, stream, every_s

    def begin(self, epochs: int, steps: int, done: int) -> None:
        self._clock = _Clock(epochs, steps, done)
        self._last = time.monotonic()
        if done:
            self._say(f"carries on after epoch {done}")

    def due(self) -> bool:
        return time.monotonic() - self._last >= self._every_s

    def report(self, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        clock = self._clock
        self._say(
            f"epoch {epoch}/{clock.epochs}, step {step}/{clock.steps}, loss {loss:.4f}, "
            f"{images_per_second:,.0f} images/s, {clock.left(epoch, step)} left"
        )

    def epoch(self, row: Record) -> None:
        clock = self._clock
        if self.due() or row["epoch"] == clock.epochs:
            left = clock.left(row["epoch"], clock.steps)
            pace = f"{row['images_per_second']:,.0f} images/s"
            self._say(f"epoch {row['epoch']}/{clock.epochs}, {describe(row)}, {pace}, {left} left")

    def end(self) -> None: ...

    def _say(self, text: str) -> None:
        print(f"{self._title}: {text}", file=self._stream, flush=True)
        self._last = time.monotonic()


class BarProgress:
    """A bar with loss, validation accuracy, images/s and the time left; gone when it ends."""

    def __init__(
        self,
        title: str,
        stream: TextIO,
        every_s: float = BAR_EVERY_S,
        table: RichProgress | None = None,
    ) -> None:
        self._title, self._stream, self._every_s = title, stream, every_s
        self._table = table
        self._bar: RichProgress | None = None
        self._figures = ""

    def begin(self, epochs: int, steps: int, done: int) -> None:
        self._clock = _Clock(epochs, steps, done)
        self._bar = self._table or live_table(self._stream)
        self._task = self._bar.add_task(self._title, total=epochs * steps, figures="", left="")
        if self._table is None:
            self._bar.start()
        self._last = 0.0

    def due(self) -> bool:
        return time.monotonic() - self._last >= self._every_s

    def report(self, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        live = f"epoch {epoch}/{self._clock.epochs} loss {loss:.3f} {images_per_second:,.0f} img/s"
        self._show(epoch, step, f"{live} {self._figures}")

    def epoch(self, row: Record) -> None:
        if row["val_accuracy"] is not None:
            self._figures = f"val {100 * row['val_accuracy']:.1f} %"
        if self.due() or row["epoch"] == self._clock.epochs:
            self.report(
                row["epoch"], self._clock.steps, row["train_loss"], row["images_per_second"]
            )

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop() if self._table is None else self._bar.remove_task(self._task)
            self._bar = None

    def _show(self, epoch: int, step: int, figures: str) -> None:
        assert self._bar is not None
        done = (epoch - 1) * self._clock.steps + step
        left = self._clock.left(epoch, step)
        self._bar.update(self._task, completed=done, figures=figures, left=left)
        self._bar.refresh()
        self._last = time.monotonic()


def describe(row: Record) -> str:
    """An epoch's figures in words."""
    text = f"loss {row['train_loss']:.4f}, training {100 * row['train_accuracy']:.2f} %"
    if row["val_accuracy"] is not None:
        text += f", validation {100 * row['val_accuracy']:.2f} %"
    return text


class _Clock:
    """How long the rest takes, at the pace of this process so far."""

    def __init__(self, epochs: int, steps: int, done: int) -> None:
        self.epochs, self.steps = epochs, steps
        self._done = done * steps
        self._start = time.monotonic()

    def left(self, epoch: int, step: int) -> str:
        done = (epoch - 1) * self.steps + step
        pace = (time.monotonic() - self._start) / max(done - self._done, 1)
        seconds = round((self.epochs * self.steps - done) * pace)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def live_table(stream: TextIO) -> RichProgress:
    """The bars of runs, one below another; whoever makes it starts and stops it."""
    from rich.console import Console  # heavy, and only terminals need it
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichBar

    return RichBar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[figures]}", markup=False),
        TextColumn("{task.fields[left]} left", markup=False),
        console=Console(file=stream),
        transient=True,
        auto_refresh=False,  # refreshed when the loop reports: no thread beside the training
    )

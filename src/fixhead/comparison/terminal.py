"""What a person sees of a comparison: the plan, the runs in hand, the outcome.

Plans and outcomes go to standard output; progress goes to standard error, as bars on a terminal and
as plain lines elsewhere.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Column, Table

from ..report.numbers import mean_std, percent_spread
from ..runs.claims import about_equivalence, about_test, supports_claim
from ..runs.layout import (
    COMPUTED_SCHEMA,
    CONFIG_FILE,
    HISTORY_FILE,
    REPORT_PAGE,
    RUN_FOLDERS,
    RUN_SCHEMA,
)
from ..runs.pool import Tell
from ..runs.records import Record, read
from ..runs.store import RunStore, read_config
from ..training.progress import Progress, live_table, progress_for
from ..training.recipe import Recipe
from .config import RunPlan, TuningPlan

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

REPORT_EVERY_S = 0.25
"""Seconds between two reports of a run: telling makes it wait for its device."""

QUIET_S = 60.0
QUIET_EPOCHS = 5
QUIET_FIRST_S = 600.0
"""A run that has written nothing for a minute, and for as long as so many of its epochs took (for
ten minutes, where no epoch is done), is taken for one that was stopped."""


class ComparisonProgress:
    """How many runs are done, and a bar or lines for every run in hand; ``log`` gets every epoch's
    row."""

    def __init__(
        self, stream: TextIO | None = None, log: Callable[[Record], None] | None = None
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._log = log
        self._total = self._done = 0
        self._runs: dict[str, Progress] = {}
        self._table: RichProgress | None = None

    def begin(self, total: int, done: int) -> None:
        self._total, self._done = total, done
        if done == total:
            self.say(f"All {total} runs are done already.")
        elif done:
            self.say(f"{done} of {total} runs are done already; carrying on.")

    def hear(self, run_id: str, kind: str, *facts: Any) -> None:
        """Show what a run tells of its epochs and steps, as ``RunProgress`` passes it on."""
        if kind == "begin":
            number = self._done + len(self._runs) + 1
            title = f"[{number}/{self._total}] {run_id}"
            self._runs[run_id] = progress_for(title, self._stream, self._started_table())
        if kind == "epoch" and self._log is not None:
            self._log(facts[0])
        if kind in ("end", "lost"):
            self._end(run_id)
        elif kind != "report" or self._runs[run_id].due():
            getattr(self._runs[run_id], kind)(*facts)

    def recorded(self, record: Record) -> None:
        schema = record.get("schema")
        if schema == RUN_SCHEMA:
            self._done += 1
            self.say(f"[{self._done}/{self._total}] {record['run_id']}{_outcome(record)}")
        elif schema == COMPUTED_SCHEMA:
            self._done += 1
            self.say(f"{record['run_id']}: computed")

    def say(self, line: str) -> None:
        if self._table is None:
            print(line, file=self._stream, flush=True)
        else:  # above the bars
            self._table.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _started_table(self) -> RichProgress | None:
        """One live table for the bars of all runs in hand, where there is a terminal."""
        if self._table is None and self._stream.isatty():
            self._table = live_table(self._stream)
            self._table.start()
        return self._table

    def _end(self, run_id: str) -> None:
        shown = self._runs.pop(run_id, None)
        if shown is not None:
            shown.end()
        if self._table is not None and not self._runs:
            self._table.stop()
            self._table = None


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

    def epoch(self, row: Record) -> None:
        self._tell("epoch", {name: value for name, value in row.items() if name != "collapse"})

    def end(self) -> None:
        self._tell("end")


def _outcome(record: Record) -> str:
    if record["status"] == "failed":
        return f" failed: {record['error'].strip().splitlines()[-1]}"
    rates = (("validation", record["val_accuracy"]), ("test", record.get("test_accuracy")))
    figures = ", ".join(f"{name} {100 * rate:.2f} %" for name, rate in rates if rate is not None)
    return f": {figures} in {record['train_seconds']:.1f} s"


def show_plan(plan: dict[str, Any]) -> None:
    """What would run, and about how long."""
    console = Console()
    console.print(
        f"{plan['data']}: {plan['training_images']:,} training and {plan['test_images']:,} test "
        f"images in {plan['classes']} classes; {plan['backbone']} with {plan['features']} "
        f"features; {plan['epochs']} epochs on {plan['device']}"
    )
    for line in plan["choices"]:
        console.print(f"· {line}", highlight=False, soft_wrap=True)
    table = Table(Column("run", overflow="fold"), "about")
    for run in plan["runs"]:
        table.add_row(run["run_id"], duration(run["seconds"]))
    console.print(table)
    console.print(
        f"{len(plan['runs'])} runs to do, {plan['done']} done already; about "
        f"{duration(plan['seconds'])} in all, on this machine as busy as it is now"
    )
    shows = plan["shows"]
    if shows is not None:
        more = shows["seeds_for_half"]
        console.print(
            f"So many seeds show a difference from {plan['baseline']} of about "
            f"{100 * shows['difference']:.1f} points ({shows['power']:.0%} of the time, where runs "
            f"of one head spread by {100 * shows['spread']:.0f} point)"
            + ("" if more is None else f"; half of it needs {more} seeds"),
            highlight=False,
            soft_wrap=True,
        )


def show_outcome(results: dict[str, Any], directory: Path) -> None:
    """The table of arms, and where the page lies."""
    console = Console()
    metric = results["metric"]
    groups = list(results.get("groups", {}))
    title = f"{metric.replace('_', ' ')} (mean ± std)"
    # Folded, never cut: @1 and @auto at the end of a name tell arms apart.
    table = Table(Column("head", overflow="fold"), "runs", title, *groups, "last epoch")
    for arm in results["arms"]:
        shown = [arm[metric], *(arm["group_accuracy"][name] for name in groups)]
        shown.append(arm["last_epoch_accuracy"])
        table.add_row(arm["head"], str(arm["n"]), *map(_percent, shown))
    console.print(table)
    if results["against"] is not None:
        _show_differences(console, results["against"])
    for note in results["notes"]:
        console.print(f"· {note}", highlight=False)
    console.print(f"The page: {directory / REPORT_PAGE}", highlight=False, soft_wrap=True)


def _show_differences(console: Console, against: dict[str, Any]) -> None:
    """Every other head minus the baseline, with its interval; p where it may be claimed."""
    claims = supports_claim(against["n"])
    table = Table(Column("head", overflow="fold"), f"minus {against['baseline']}", "95 % interval")
    if claims:
        table.add_column("p")
    for arm in against["arms"]:
        mean, ends = arm["difference"]["mean"], arm["difference"]["ci95"]
        interval = "–" if ends is None else f"{100 * ends[0]:+.2f} … {100 * ends[1]:+.2f}"
        p = arm["p_value"]
        shown = [] if not claims else ["–" if p is None else f"{p:.2g}"]
        table.add_row(arm["head"], f"{100 * mean:+.2f} points", interval, *shown)
    console.print(table)
    for line in (about_test(against), about_equivalence(against)):
        if line is not None:
            console.print(f"· {line}", highlight=False)


def duration(seconds: float) -> str:
    """``4 s``, ``2 min 5 s``, ``3 h 20 min``."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _percent(spread: dict[str, Any]) -> str:
    if spread["mean"] is None:
        return "–"
    mean = f"{100 * spread['mean']:.2f} %"
    return mean if spread["std"] is None else f"{mean} ± {100 * spread['std']:.2f}"


def show_run(row: dict[str, Any], folder: Path) -> None:
    """One run in a line, and where its model lies."""
    console = Console(highlight=False)
    if row["status"] != "done":
        console.print(row["error"], soft_wrap=True, markup=False)
        return
    test, held = row["test_accuracy"], row["val_accuracy"]
    console.print(
        f"{row['head']} on {row['data']}, {row['backbone']}, seed {row['seed']}: test accuracy "
        f"{100 * test:.2f} % (epoch {row['best_epoch']} of {row['epochs']}, chosen on validation, "
        f"{100 * held:.2f} %) in {duration(row['train_seconds'])}",
        soft_wrap=True,
    )
    if row["epochs"] < row["config"]["epochs"]:
        console.print(
            f"Stopped after {row['config']['patience']} epochs without a better validation score.",
            soft_wrap=True,
        )
    console.print(f"The model: {folder}", soft_wrap=True)
    shown = shlex.quote(str(folder))
    console.print("Next:")
    for command in (f"evaluate {shown}", f"predict {shown} PICTURES", f"export {shown} --to onnx"):
        console.print(f"  fixhead {command}", soft_wrap=True)


@dataclass(frozen=True)
class _Seen:
    """A planned run as its folder shows it: its record, if it is done, and its epochs so far."""

    plan: RunPlan
    record: Record | None
    epochs: Sequence[Record]
    written_at: float | None

    @property
    def epoch_seconds(self) -> list[float]:
        return [epoch["seconds"] for epoch in self.epochs]

    def is_at_work(self, now: float) -> bool:
        if self.record is not None or self.written_at is None:
            return False
        longest = max(self.epoch_seconds, default=QUIET_FIRST_S / QUIET_EPOCHS)
        patience = max(QUIET_S, QUIET_EPOCHS * longest)
        return now - self.written_at < patience


@dataclass(frozen=True)
class Overview:
    """How far a comparison is, read from its folder at ``now`` (seconds since 1970)."""

    config: Mapping[str, Any]
    runs: Sequence[_Seen]
    now: float

    @property
    def done(self) -> int:
        return sum(run.record is not None for run in self.runs)

    @property
    def at_work(self) -> list[_Seen]:
        return [run for run in self.runs if run.is_at_work(self.now)]

    @property
    def metric(self) -> str:
        """What results.json will say the comparison is about."""
        records = [run.record for run in self.runs if run.record is not None]
        chosen = {record["config"]["choose_on"] for record in records}
        return "balanced_accuracy" if chosen == {"balanced_accuracy"} else "test_accuracy"

    @property
    def seconds_left(self) -> float | None:
        """Epochs that are missing × seconds of an epoch of their head (of any, where it has none
        yet), shared among as many runs as are at work; None where no epoch is done, or nothing is
        at work."""
        paces = {
            head: [s for run in self.runs if run.plan.head == head for s in run.epoch_seconds]
            for head in self.config["heads"]
        }
        every = [seconds for own in paces.values() for seconds in own]
        if not every or not self.at_work:
            return None
        left = 0.0
        for run in self.runs:
            if run.record is None:
                missing = run.plan.recipe.epochs - len(run.epochs)
                left += max(missing, 0) * mean(paces[run.plan.head] or every)
        return left / len(self.at_work)


def read_overview(directory: Path, now: float) -> Overview:
    """From the records of a comparison's folder, whoever writes them.

    Raises:
        RequestError: the folder is no comparison's.
    """
    config = read_config(directory)["config"]
    recipe = Recipe.from_dict(config["recipe"])
    first = config.get("first_seed", 0)
    plans: list[RunPlan] = [
        TuningPlan(head, 0, replace(recipe, lr=rate))
        for head in config["heads"]
        for rate in config.get("tune", ())
    ]
    plans += [
        RunPlan(head, seed, recipe)
        for seed in range(first, first + config["seeds"])
        for head in config["heads"]
    ]
    store = RunStore(directory)
    done = {file: store.by_run(file) for file in {plan.file for plan in plans}}
    return Overview(
        config, [_seen(directory, plan, done[plan.file].get(plan.run_id)) for plan in plans], now
    )


def _seen(directory: Path, plan: RunPlan, record: Record | None) -> _Seen:
    folder = directory / RUN_FOLDERS / plan.run_id
    times = [
        path.stat().st_mtime for path in (folder / CONFIG_FILE, folder / HISTORY_FILE)
        if path.exists()
    ]  # fmt: skip
    return _Seen(plan, record, read(folder / HISTORY_FILE), max(times, default=None))


def overview_table(seen: Overview) -> Table:
    """A row for each head: runs done, runs at work with their epochs, the mean so far."""
    left = seen.seconds_left
    title = f"{seen.config['data']}, {seen.config['backbone']}: {seen.done} of {len(seen.runs)} "
    title += f"runs done, {len(seen.at_work)} at work"
    title += "" if left is None else f", about {duration(left)} left"
    metric = seen.metric
    table = Table(
        Column("head", overflow="fold"),
        "done",
        "at work or stopped",
        f"{metric.replace('_', ' ')} so far",
        title=title,
    )
    for head in seen.config["heads"]:
        own = [run for run in seen.runs if run.plan.head == head]
        records = [run.record for run in own if run.record is not None]
        failed = sum(record["status"] != "done" for record in records)
        rates = [record[metric] for record in records if record.get(metric) is not None]
        table.add_row(
            head,
            f"{len(records)} of {len(own)}" + (f", {failed} failed" if failed else ""),
            "\n".join(_begun(run, head, seen.now) for run in own if _is_begun(run)),
            percent_spread(*mean_std(rates)) if rates else "–",
        )
    return table


def _is_begun(run: _Seen) -> bool:
    return run.record is None and run.written_at is not None


def _begun(run: _Seen, head: str, now: float) -> str:
    name = run.plan.run_id.removeprefix(f"{head}-")
    stopped = "" if run.is_at_work(now) else ", stopped"
    return f"{name}: epoch {len(run.epochs)} of {run.plan.recipe.epochs}{stopped}"


def watch(
    directory: Path, *, every_s: float = 2.0, once: bool = False, console: Console | None = None
) -> None:
    """Show how a comparison gets on, until it is done or the keyboard says enough.

    Raises:
        RequestError: the folder is no comparison's.
    """
    console = console or Console(highlight=False)
    seen = read_overview(directory, time.time())
    if once:
        console.print(overview_table(seen))
        return
    with Live(overview_table(seen), console=console, auto_refresh=False) as live:
        try:
            while seen.done < len(seen.runs):
                time.sleep(every_s)
                seen = read_overview(directory, time.time())
                live.update(overview_table(seen), refresh=True)
        except KeyboardInterrupt:
            return

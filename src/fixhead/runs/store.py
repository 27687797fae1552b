"""A folder of runs: each is done once, whoever asks, by as many processes as work on the folder.

Planning, doing a run and recording it are three things. A plan is known by its ``run_id``; a
``Runner`` does it, here or in a process of its own (``fixhead.runs.pool``), and writes into that
run's folder only; what it tells, its records first of all, is written by the process that asked. A
run in hand is locked, and a lock ends with the process that holds it, however that process ends.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol

from filelock import FileLock, Timeout

from .._errors import RequestError
from . import records
from .layout import (
    CHECKPOINT_FOLDER,
    COMPARISON_SCHEMA,
    CONFIG_FILE,
    HISTORY_FILE,
    RUN_FOLDERS,
    RUNS_FILE,
)
from .pool import LOOK_AGAIN_S, MOST_LOSSES, P, Plan, Runner, Workers
from .records import Record

LOCK_FILE = ".lock"


Grows = Callable[[Record], bool]
"""Whether the comparison at hand is that of this config.json with more runs."""


class Listener(Protocol):
    """Who is told how the runs go."""

    def begin(self, total: int, done: int) -> None:
        """So many runs are planned, and so many of them are done already."""

    def hear(self, run_id: str, kind: str, *facts: Any) -> None:
        """What a run tells of itself beside its records."""

    def recorded(self, record: Record) -> None:
        """A record is on disk."""

    def say(self, line: str) -> None:
        """A sentence for people."""


class RunStore:
    """The records and the run folders in ``folder``; nothing is made before it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / LOCK_FILE)
        self._known: dict[str, _KnownRecords] = {}

    def records(self, file: str = RUNS_FILE) -> list[Record]:
        """All whole records of a file so far; only what was appended since is read."""
        known = self._known.setdefault(file, _KnownRecords(self.folder / file))
        return known.refresh()

    def by_run(self, file: str = RUNS_FILE) -> dict[str, Record]:
        """The last record of every run, by its run_id."""
        return {record["run_id"]: record for record in self.records(file)}

    def history(self, run_id: str) -> list[Record]:
        """The epochs of a run."""
        return records.read(self.run_folder(run_id) / HISTORY_FILE)

    def run_folder(self, run_id: str) -> Path:
        """Where a run keeps its history, its model and, while it lasts, its checkpoint."""
        return self.folder / RUN_FOLDERS / run_id

    def add(self, record: Mapping[str, Any], file: str = RUNS_FILE) -> None:
        """Append a record; one process at a time does so."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock:
            records.append(self.folder / file, record)

    def repair(self, *files: str) -> list[str]:
        """Cut off lines that a kill left unfinished; the files that had one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock:
            return [file for file in files if records.repair(self.folder / file)]

    def discard_checkpoint(self, run_id: str) -> None:
        """Take away what an unfinished run would carry on from."""
        shutil.rmtree(self.run_folder(run_id) / CHECKPOINT_FOLDER, ignore_errors=True)

    def run_missing(
        self,
        plans: Sequence[P],
        runner: Runner[P],
        *,
        is_done: Callable[[P], bool],
        listener: Listener,
        finish: Callable[[P], None] | None = None,
        workers: Workers | None = None,
    ) -> None:
        """Do the plans that are not done; what another command has in hand is waited for.

        Args:
            is_done: whether a plan's records are there; asked again once the run is locked.
            finish: called when a plan's records are written, still under its lock.
            workers: how many at once; one after another in this process by default.
        """
        waiting = [plan for plan in plans if not is_done(plan)]
        listener.begin(len(plans), len(plans) - len(waiting))
        desk = _StoreDesk(self, waiting, runner, is_done, finish or _nothing, listener)
        try:
            while desk.waiting:
                (workers or Workers()).work_off(runner, desk, len(desk.waiting))
                if desk.waiting:
                    time.sleep(LOOK_AGAIN_S)  # all that is left is in other hands
        finally:
            desk.release_all()

    def lock_run(self, run_id: str) -> FileLock | None:
        """The lock of a run, held; None where another process has the run in hand."""
        folder = self.run_folder(run_id)
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK_FILE, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return None
        return lock

    @contextmanager
    def claim(self, facts: Mapping[str, Any], grows: Grows | None = None) -> Iterator[None]:
        """Hold the whole folder for the comparison that config.json's ``facts`` describe; a smaller
        one that it ``grows`` from becomes this one.

        Raises:
            RequestError: the folder holds another comparison or someone else's files, or another
                process is at work in it.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise RequestError(f"--out must be a folder, got the file {self.folder}")
        self.refuse_foreign(facts, grows)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RequestError(
                f"another fixhead is at work in {self.folder}; wait for it, or name another folder"
            ) from None
        try:
            self.refuse_foreign(facts, grows)  # again, now that only this process can write
            path = self.folder / CONFIG_FILE
            if not path.exists() or read_config(self.folder)["digest"] != facts["digest"]:
                records.write_json(path, facts)
            yield
        finally:
            self._lock.release()

    def refuse_foreign(self, facts: Mapping[str, Any], grows: Grows | None = None) -> None:
        """Refuse a folder that is not empty and not that of the comparison with these facts, nor of
        one that it ``grows`` from."""
        if not self.folder.exists():
            return
        if not (self.folder / CONFIG_FILE).exists():
            # A kill before config.json was whole leaves only our lock and a draft.
            others = sorted(
                entry.name for entry in self.folder.iterdir() if not entry.name.startswith(".")
            )
            if others:
                raise RequestError(
                    f"--out needs a new or empty folder, or one of fixhead's own, got {self.folder}"
                    f" with other files in it ({others[0]}, …); name another folder"
                )
            return
        theirs = read_config(self.folder)
        if theirs["digest"] != facts["digest"] and not (grows is not None and grows(theirs)):
            raise RequestError(
                f"--out needs the folder of this very comparison, got {self.folder} made with "
                f"{first_difference(theirs['config'], facts['config'])}; name another folder, "
                "or repeat the options it was made with; heads and seeds may be added to them"
            )


def read_config(folder: Path) -> Record:
    """The config.json of a comparison's folder.

    Raises:
        RequestError: the file is missing or is not fixhead's.
    """
    missing = f"{folder} is no comparison's folder: {CONFIG_FILE} is missing"
    return records.read_json(folder / CONFIG_FILE, COMPARISON_SCHEMA, missing=missing)


@dataclass
class _KnownRecords:
    """A file that grows: its records so far, and where the next one will begin."""

    path: Path
    rows: list[Record] = field(default_factory=list)
    end: int = 0

    def refresh(self) -> list[Record]:
        if self.path.exists() and self.path.stat().st_size < self.end:
            self.rows, self.end = [], 0  # it was replaced
        new, self.end = records.read_from(self.path, self.end, len(self.rows))
        self.rows += new
        return list(self.rows)


@dataclass
class _StoreDesk(Generic[P]):
    """The plans of one call that wait, and the locks of those in hand."""

    store: RunStore
    waiting: list[P]
    runner: Runner[P]
    is_done: Callable[[P], bool]
    on_finish: Callable[[P], None]
    listener: Listener
    locks: dict[str, FileLock] = field(default_factory=dict)
    losses: Counter[str] = field(default_factory=Counter)

    def take(self) -> P | None:
        """The first plan that no command has in hand and none has done meanwhile, locked."""
        for plan in list(self.waiting):
            lock = self.store.lock_run(plan.run_id)
            if lock is None:
                continue
            self.waiting.remove(plan)
            if not self.is_done(plan):
                self.locks[plan.run_id] = lock
                return plan
            lock.release()
        return None

    def tell(self, plan: P, kind: str, *facts: Any) -> None:
        if kind == "record":
            file, record = facts
            self.store.add(record, file)
            self.listener.recorded(record)
        else:
            self.listener.hear(plan.run_id, kind, *facts)

    def finish(self, plan: P) -> None:
        self.on_finish(plan)
        self.locks.pop(plan.run_id).release()

    def lose(self, plan: P, reason: str) -> None:
        """Begin the run again, from its last checkpoint; after several losses it has failed."""
        self.losses[plan.run_id] += 1
        self.listener.hear(plan.run_id, "lost")
        if self.losses[plan.run_id] < MOST_LOSSES:
            self.listener.say(f"{plan.run_id}: {reason}; it is begun again.")
            self.waiting.insert(0, plan)
            self.locks.pop(plan.run_id).release()
        else:
            self.tell(plan, "record", *self.runner.failure(plan, f"{reason}, {MOST_LOSSES} times"))
            self.finish(plan)

    def release_all(self) -> None:
        for lock in self.locks.values():
            lock.release()


def _nothing(plan: Plan) -> None: ...


def first_difference(theirs: dict[str, Any], ours: dict[str, Any], prefix: str = "") -> str:
    """``lr = 0.1 where this one has 0.2``: the first field in which two configurations differ."""
    for name in {**ours, **theirs}:
        then, now = theirs.get(name), ours.get(name)
        if isinstance(then, dict) and isinstance(now, dict):
            inner = first_difference(then, now, f"{prefix}{name}.")
            if inner:
                return inner
        elif then != now:
            return f"{prefix}{name} = {then!r} where this one has {now!r}"
    return "" if prefix else "another data folder"

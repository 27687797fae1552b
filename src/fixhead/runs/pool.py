"""Runs done here one after another, or several at once in processes of their own.

Every process has a pipe of its own, so a process that dies or is stopped for taking too long costs
the run that it had in hand and nothing else. (A pool of ``concurrent.futures`` breaks as a whole
then, and cannot stop a run that hangs.) Only the process that asked writes records.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from .._errors import RequestError
from .records import Record

LOOK_AGAIN_S = 1.0
"""Seconds between two looks at runs that take too long, or that other commands have in hand."""

MOST_LOSSES = 3
"""A run whose process was lost so often is recorded as failed."""


class Plan(Protocol):
    """A run to be done."""

    @property
    def run_id(self) -> str: ...


P = TypeVar("P", bound=Plan)
P_contra = TypeVar("P_contra", bound=Plan, contravariant=True)
Tell = Callable[..., None]
"""``tell("record", file, record)``: to be written; ``tell(kind, *facts)``: to be shown."""


class Runner(Protocol[P_contra]):
    """Does plans. It is pickled once for every process, and should leave its data behind then."""

    def __call__(self, plan: P_contra, tell: Tell, /) -> None:
        """Do a run, and tell its records; write into the run's own folder only."""

    def failure(self, plan: P_contra, reason: str, /) -> tuple[str, Record]:
        """The file and the record of a run whose process died again and again."""


@runtime_checkable
class MovableRunner(Runner[P_contra], Protocol[P_contra]):
    """A runner that can do its runs in another folder, with everything else as it is."""

    @property
    def folder(self) -> Path:
        """Where the folders of its runs are."""

    def in_folder(self, folder: Path, /) -> Runner[P_contra]:
        """The same for another folder."""


class Desk(Protocol[P]):
    """Where plans are taken from, and where what becomes of them goes."""

    def take(self) -> P | None:
        """The next plan that can be begun now."""

    def tell(self, plan: P, kind: str, *facts: Any) -> None:
        """What the run of a plan tells."""

    def finish(self, plan: P) -> None:
        """The plan is done, and all its records were told."""

    def lose(self, plan: P, reason: str) -> None:
        """The process that had the plan in hand is gone."""


@dataclass(frozen=True)
class Workers:
    """How runs are done: so many at once, on so many threads each, within so much time each.

    jobs: 1 does them in this process, unless there is a limit of time.
    threads: that PyTorch computes with in each process; None leaves them as they are.
    run_timeout_s: a run that takes longer is stopped and begun again from its last checkpoint.
    """

    jobs: int = 1
    threads: int | None = None
    run_timeout_s: float | None = None

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise RequestError(f"--jobs must be 1 or more, got {self.jobs}")
        if self.run_timeout_s is not None and not self.run_timeout_s > 0:
            raise RequestError(f"--run-timeout must be above 0 seconds, got {self.run_timeout_s}")

    def with_threads(self, threads: int) -> Workers:
        """The same, with this number of threads where none was named."""
        return replace(self, threads=self.threads or threads)

    def work_off(self, runner: Runner[P], desk: Desk[P], most: int) -> None:
        """Do plans until none can be begun; ``most`` is how many there can be."""
        jobs = min(self.jobs, most)
        if jobs <= 1 and self.run_timeout_s is None:
            _work_here(runner, desk)
        else:
            _work_in_processes(runner, desk, self, jobs)

    def answers(self, runner: Runner[P], plans: Sequence[P], hear: Tell) -> list[Any]:
        """What the runner tells of every plan as its ``"answer"``, in the order of the plans;
        ``hear`` is told the rest, and nothing is written.

        Raises:
            RequestError: a plan whose process died, or was stopped, again and again.
        """
        desk = _AnswerDesk(list(plans), hear)
        self.work_off(runner, desk, len(plans))
        return [desk.answers[plan.run_id] for plan in plans]


@dataclass
class _AnswerDesk(Generic[P]):
    waiting: list[P]
    hear: Tell
    answers: dict[str, Any] = field(default_factory=dict)
    losses: Counter[str] = field(default_factory=Counter)

    def take(self) -> P | None:
        return self.waiting.pop(0) if self.waiting else None

    def tell(self, plan: P, kind: str, *facts: Any) -> None:
        if kind == "answer":
            (self.answers[plan.run_id],) = facts
        else:
            self.hear(kind, *facts)

    def finish(self, plan: P) -> None:
        assert plan.run_id in self.answers

    def lose(self, plan: P, reason: str) -> None:
        self.losses[plan.run_id] += 1
        if self.losses[plan.run_id] == MOST_LOSSES:
            raise RequestError(
                f"{plan.run_id}: {reason}, {MOST_LOSSES} times; try --jobs 1, or a smaller part"
            )
        self.waiting.insert(0, plan)


def jobs_that_fit(device: str, threads: int) -> int:
    """As many runs of so many threads as this process may use cores; one on an accelerator."""
    if not device.startswith("cpu"):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // threads)


def _work_here(runner: Runner[P], desk: Desk[P]) -> None:
    while (plan := desk.take()) is not None:
        current = plan

        def tell(kind: str, *facts: Any, plan: P = current) -> None:
            desk.tell(plan, kind, *facts)

        runner(plan, tell)
        desk.finish(plan)


def _work_in_processes(runner: Runner[P], desk: Desk[P], workers: Workers, jobs: int) -> None:
    pool: list[_Worker[P]] = []
    try:
        while True:
            busy = {worker.pipe: worker for worker in pool if worker.plan is not None}
            while len(busy) < jobs and (plan := desk.take()) is not None:
                worker = next((one for one in pool if one.plan is None), None)
                if worker is None:
                    worker = _Worker(runner, workers.threads)
                    pool.append(worker)
                worker.begin(plan)
                busy[worker.pipe] = worker
            if not busy:
                return
            for pipe in wait(list(busy), timeout=LOOK_AGAIN_S):
                busy[pipe].listen(desk)  # type: ignore[index]
            for worker in busy.values():
                worker.stop_when_overdue(workers.run_timeout_s, desk)
            pool = [worker for worker in pool if worker.alive]
    finally:
        for worker in pool:
            worker.stop()


class _Worker(Generic[P]):
    """A process that does one run at a time, and this side of its pipe."""

    def __init__(self, runner: Runner[P], threads: int | None) -> None:
        module = type(runner).__module__
        start_server(module)
        context = processes_with(module)
        self.pipe, theirs = context.Pipe()
        environment = dict(os.environ)  # a fork server has that of the day it was started
        self._process: Any = context.Process(  # type: ignore[attr-defined]
            target=_serve, args=(theirs, runner, threads, environment)
        )
        self._process.start()
        theirs.close()  # so that the pipe ends with the process
        self.plan: P | None = None
        self.alive = True
        self._ready = False
        self._since = time.monotonic()

    def begin(self, plan: P) -> None:
        self.plan = plan
        self._since = time.monotonic()
        with contextlib.suppress(OSError):  # it died while it was idle: listening says so
            self.pipe.send(plan)

    def listen(self, desk: Desk[P]) -> None:
        """Take one message, or notice that there will be none."""
        assert self.plan is not None
        try:
            kind, *facts = self.pipe.recv()
        except (EOFError, OSError):
            self._lose(desk, "its process died")
            return
        if kind == "ready":
            self._ready, self._since = True, time.monotonic()
        elif kind == "tell":
            desk.tell(self.plan, *facts)
        elif kind == "raised":
            raise facts[0]
        else:
            done, self.plan = self.plan, None
            desk.finish(done)

    def stop_when_overdue(self, limit_s: float | None, desk: Desk[P]) -> None:
        late = limit_s is not None and time.monotonic() - self._since > limit_s
        if late and self._ready and self.plan is not None:
            self._lose(desk, f"it took longer than --run-timeout {limit_s:g}")

    def stop(self) -> None:
        self.alive = False
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def _lose(self, desk: Desk[P], reason: str) -> None:
        self.stop()
        code = self._process.exitcode
        if not self._ready and code is not None and code > 0:
            raise RuntimeError(
                "a process for runs could not be started (its error is above); a script that asks "
                'for several runs at once needs its own part under if __name__ == "__main__"'
            )
        lost, self.plan = self.plan, None
        assert lost is not None
        desk.lose(lost, reason)


def processes_with(*modules: str) -> BaseContext:
    """How processes for runs are made: forked from a server that has imported ``modules`` and done
    nothing else, so that each of them need not import torch again; anew where there is none.

    The server is started by the first process that is made so, or by ``start_server``. A process
    forked from one that computes could use neither CUDA nor threads; the server does not compute.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # For a server that is yet to be started; a script is not to be begun again by it.
    context.set_forkserver_preload([__name__, *(one for one in modules if one != "__main__")])
    return context


def start_server(*modules: str) -> None:
    """Let the server import ``modules`` from now on, while this process does something else; one
    that runs already has imported what it was started for."""
    if processes_with(*modules).get_start_method() != "forkserver":
        return
    from multiprocessing import forkserver

    # The keyboard's stop is for this process. Whoever is started while it is ignored ignores it
    # from its first moment; only a main thread may say so.
    ours = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if ours else None
    try:
        forkserver.ensure_running()
    finally:
        if ours:
            signal.signal(signal.SIGINT, handler)


def _serve(
    pipe: Connection, runner: Runner[Any], threads: int | None, environment: dict[str, str]
) -> None:
    """The other side: do what comes through the pipe until it ends."""
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the asking process hears it, and stops us
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    pipe.send(("ready",))
    while True:
        try:
            plan = pipe.recv()
        except EOFError:
            return
        try:
            runner(plan, lambda *message: pipe.send(("tell", *message)))
        except BaseException as error:
            pipe.send(("raised", portable(error)))
        else:
            pipe.send(("done",))


def _leave_with_parent() -> None:
    """A run must not go on after the process that holds its lock is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def portable(error: BaseException) -> BaseException:
    """The error as another process can have it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error

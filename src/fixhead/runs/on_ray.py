"""Runs done as tasks of a Ray cluster: on this machine's cores, or on many machines.

A run is a task that needs so many processors and so much of a GPU; Ray finds a node for it. What
the run tells comes back as it is told, and only the process that asked writes records. A task whose
process or node is lost is begun again, as with processes of our own (``fixhead.runs.pool``): on a
disk that all nodes share from its last checkpoint. A node that does not see the asking process's
folder works in one of its own and sends back what the run left there, before the record is written.

Every node needs this version of fixhead, and the data under the same path.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import queue
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from .._errors import MissingExtraError, RequestError
from .._files import replace_file
from .._version import __version__
from .layout import CHECKPOINT_FOLDER, RUN_FOLDERS
from .pool import LOOK_AGAIN_S, Desk, MovableRunner, P, Plan, Runner, Workers, portable

ASKED = "ray"
"""The word of ``--on``."""

PATIENCE_S = 60.0
"""Seconds that a cluster has to answer, and to find a node with room for a run."""


@dataclass(frozen=True)
class RayWorkers(Workers):
    """Runs as tasks of the cluster at ``address``; None starts one on this machine.

    jobs: that are in hand at once, by default as many as the cluster's nodes have room for.
    cpus, gpus: that a run takes of a node; parts of a GPU are shared with other runs.
    """

    jobs: int = sys.maxsize
    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.cpus > 0:
            raise RequestError(f"--run-cpus must be above 0, got {self.cpus:g}")
        if not self.gpus >= 0:
            raise RequestError(f"--run-gpus must be 0 or more, got {self.gpus:g}")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise RequestError(
                f"--run-gpus must be a part of one GPU or a whole number, got {self.gpus:g}"
            )

    def work_off(self, runner: Runner[P], desk: Desk[P], most: int) -> None:
        """Do plans on the cluster until none can be begun.

        Raises:
            RequestError: no cluster answers, or no node of it has what a run needs; a node refuses
                the run, e.g. because it lacks the data; the runner cannot leave its folder.
            MissingExtraError: Ray is not installed.
        """
        if not isinstance(runner, MovableRunner):
            raise RequestError(f"--on {ASKED} does compare and paper; leave it out here")
        with _cluster(self) as ray, _token(runner.folder) as token:
            _Tasks(ray, runner, desk, self, token).work_off()


def parse_on(text: str) -> str | None:
    """``ray`` → None, a cluster that is started here; ``ray:ADDRESS`` → its address.

    Raises:
        RequestError: anything else.
    """
    name, _, address = text.partition(":")
    if name != ASKED or (":" in text and not address):
        raise RequestError(
            f"--on must be {ASKED} (a cluster on this machine) or {ASKED}:ADDRESS, got {text!r}; "
            f"{ASKED}:auto joins the cluster that `ray start` began here"
        )
    return address or None


@contextmanager
def _cluster(workers: RayWorkers) -> Iterator[Any]:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the machine unasked
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise MissingExtraError(
            f'--on {ASKED} needs Ray, which is not installed; try: pip install "fixhead[ray]"'
        ) from None
    if ray.is_initialized():  # the caller's own
        yield ray
        return
    here = workers.address is None
    _refuse_silence(workers.address)
    try:
        ray.init(
            address="local" if here else workers.address,
            include_dashboard=False if here else None,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except (ConnectionError, ray.exceptions.RayError) as error:
        raise _no_cluster(workers.address, error) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _refuse_silence(address: str | None) -> None:
    """Ray itself would go on asking for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if not (colon and port.isdigit()) or "/" in host:
        return
    try:
        socket.create_connection((host, int(port)), PATIENCE_S).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from None


def _no_cluster(address: str | None, error: Exception) -> RequestError:
    return RequestError(
        f"--on {ASKED}:{address}: no cluster answers there ({error}); `ray start --head` begins "
        f"one, and {ASKED} without an address one of its own"
    )


@contextmanager
def _token(folder: Path) -> Iterator[str]:
    """A name that nodes find in the folder exactly where they share it.

    Ray ends a process whose cluster is lost, so one that is gone may have left its own here.
    """
    host = socket.gethostname()
    for left in folder.glob(f".{host}-*.asked"):
        if not _lives(int(left.name.split("-")[-2])):
            left.unlink(missing_ok=True)
    path = folder / f".{host}-{os.getpid()}-{uuid4().hex}.asked"
    path.touch(exist_ok=False)
    try:
        yield path.name
    finally:
        path.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class _Asked:
    """What a node needs to know of the process that asked."""

    token: str
    folder: Path
    directory: str
    threads: int | None
    version: str = __version__


class _Tasks:
    """The plans that the cluster has in hand."""

    def __init__(
        self, ray: Any, runner: MovableRunner[Any], desk: Desk[Any], workers: RayWorkers, token: str
    ) -> None:
        self.ray, self.desk, self.workers, self.folder = ray, desk, workers, runner.folder
        self.asked = _Asked(token, runner.folder.resolve(), str(Path.cwd()), workers.threads)
        self.runner = ray.put(pickle.dumps(runner))
        self.task = ray.remote(_do).options(
            num_returns="streaming",
            num_cpus=workers.cpus,
            num_gpus=workers.gpus,
            max_retries=0,  # what was told would be told again: the desk begins a run again
        )
        self.hand: dict[Any, _InHand] = {}
        self.since = time.monotonic()

    def work_off(self) -> None:
        try:
            while True:
                while len(self.hand) < self._room() and (plan := self.desk.take()) is not None:
                    self.hand[self.task.remote(self.runner, plan, self.asked)] = _InHand(plan)
                if not self.hand and self._room() == 0:
                    time.sleep(LOOK_AGAIN_S)  # nodes may be on their way
                    continue
                if not self.hand:
                    return
                ready, _ = self.ray.wait(list(self.hand), timeout=LOOK_AGAIN_S)
                for stream in ready:
                    self._listen(stream, self.hand[stream])
                for stream, one in list(self.hand.items()):
                    self._stop_when_overdue(stream, one)
        finally:
            for stream in self.hand:
                self._cancel(stream)

    def _room(self) -> int:
        """Runs that the living nodes have room for."""
        cpus, gpus = self.workers.cpus, self.workers.gpus
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        room = 0
        for node in nodes:
            fits = node.get("CPU", 0) / cpus
            room += int(min(fits, node.get("GPU", 0) / gpus) if gpus else fits)
        if room == 0 and not self.hand and time.monotonic() - self.since > PATIENCE_S:
            most = [max((n.get(name, 0) for n in nodes), default=0) for name in ("CPU", "GPU")]
            raise RequestError(
                f"a run needs {cpus:g} processors and {gpus:g} GPUs of one node; of the cluster's "
                f"{len(nodes)} none has more than {most[0]:g} and {most[1]:g}; "
                "try --run-cpus, --run-gpus"
            )
        return min(room, self.workers.jobs)

    def _listen(self, stream: Any, one: _InHand) -> None:
        """Take one message, or notice that there will be none."""
        try:
            kind, *facts = self.ray.get(next(stream))
        except StopIteration:
            self._lose(stream, "its task ended without a word")
            return
        except self.ray.exceptions.RayTaskError as error:  # before the run itself began
            raise RequestError(f"a node of the cluster cannot do runs: {error.cause!r}") from error
        except self.ray.exceptions.RayError as error:
            self._lose(stream, f"its process or node was lost ({type(error).__name__})")
            return
        if kind == "ready":
            one.since = time.monotonic()
        elif kind == "tell":
            self.desk.tell(one.plan, *facts)
        elif kind == "file":
            name, content = facts
            _put_back(self.folder / RUN_FOLDERS / one.plan.run_id, name, content)
        elif kind == "raised":
            raise facts[0]
        else:
            del self.hand[stream]
            self.desk.finish(one.plan)

    def _stop_when_overdue(self, stream: Any, one: _InHand) -> None:
        limit_s = self.workers.run_timeout_s
        if limit_s is None or one.since is None or time.monotonic() - one.since <= limit_s:
            return
        self._cancel(stream)
        self._lose(stream, f"it took longer than --run-timeout {limit_s:g}")

    def _lose(self, stream: Any, reason: str) -> None:
        self.desk.lose(self.hand.pop(stream).plan, reason)

    def _cancel(self, stream: Any) -> None:
        with suppress(Exception):  # it is over, or its node is gone
            self.ray.cancel(stream, force=True)


@dataclass
class _InHand:
    """A plan that a node has; ``since``: when it said that it begins."""

    plan: Any
    since: float | None = None


def _put_back(folder: Path, name: str, content: bytes) -> None:
    """A file that a run left on a node, at its place here."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise RequestError(f"a node sent the file {name!r}, which leaves the run's folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda draft: draft.write_bytes(content))


def _do(carried: bytes, plan: Plan, asked: _Asked) -> Iterator[tuple[Any, ...]]:
    """On a node: do the run in a thread, and give what it tells."""
    if asked.version != __version__:
        yield (
            "raised",
            RequestError(
                f"the node {socket.gethostname()} has fixhead {__version__}, needed {asked.version}"
            ),
        )
        return
    with suppress(OSError):  # relative paths of data mean what they mean to the asking process
        os.chdir(asked.directory)
    shared = (asked.folder / asked.token).exists()
    folder = asked.folder if shared else Path(tempfile.mkdtemp(prefix="fixhead-"))
    runner = _unpacked(hashlib.sha256(carried).hexdigest(), carried)
    runner = runner if shared else runner.in_folder(folder)
    messages: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
    thread = threading.Thread(target=_run, args=(runner, plan, asked.threads, messages.put))
    yield ("ready",)
    thread.start()
    records: list[tuple[Any, ...]] = []
    try:
        while True:
            message = messages.get()
            if message[:2] == ("tell", "record") and not shared:
                records.append(message)  # once its files are there
                continue
            if message[0] == "done" and not shared:
                yield from _left_behind(folder / RUN_FOLDERS / plan.run_id)
                yield from records
            yield message
            if message[0] != "tell":
                return
    finally:
        if not shared:
            shutil.rmtree(folder, ignore_errors=True)


def _run(runner: Any, plan: Plan, threads: int | None, put: Any) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)  # for this thread
    try:
        runner(plan, lambda *message: put(("tell", *message)))
    except RequestError as error:
        put(("raised", RequestError(f"on the node {socket.gethostname()}: {error}")))
    except BaseException as error:
        put(("raised", portable(error)))
    else:
        put(("done",))


@lru_cache(maxsize=1)
def _unpacked(digest: str, carried: bytes) -> Any:
    """The runner, whose data this process reads once."""
    return pickle.loads(carried)


def _left_behind(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and CHECKPOINT_FOLDER not in name.parts and not name.name.startswith("."):
            yield "file", name.as_posix(), path.read_bytes()

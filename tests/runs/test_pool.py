"""Several runs at once, in real processes: what a process that dies, hangs or raises costs."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixhead import RequestError
from fixhead.runs.pool import Workers, jobs_that_fit
from fixhead.runs.records import read
from fixhead.runs.store import RunStore


@dataclass(frozen=True)
class Planned:
    run_id: str


@dataclass
class Counting:
    """Notes each attempt in the run's folder; some runs misbehave, the first time or every time."""

    folder: Path
    kill: tuple[str, ...] = ()
    kill_always: tuple[str, ...] = ()
    hang: tuple[str, ...] = ()
    refuse: tuple[str, ...] = ()
    seconds: float = 0.0

    def attempts(self, plan):
        return self.folder / "runs" / plan.run_id / "attempts"

    def __call__(self, plan, tell):
        with self.attempts(plan).open("a") as file:
            file.write(f"{os.getpid()}\n")
        first = len(self.attempts(plan).read_text().split()) == 1
        tell("begin", 1)
        if plan.run_id in self.kill_always or (first and plan.run_id in self.kill):
            os.kill(os.getpid(), signal.SIGKILL)
        if plan.run_id in self.refuse:
            raise RequestError("the data are not there; try others")
        while first and plan.run_id in self.hang:
            time.sleep(1)
        time.sleep(self.seconds)
        tell("record", "runs.jsonl", {"run_id": plan.run_id, "status": "done", "by": os.getpid()})

    def failure(self, plan, reason):
        return "runs.jsonl", {"run_id": plan.run_id, "status": "failed", "error": reason}


class Heard:
    def __init__(self):
        self.lines, self.kinds = [], []

    def begin(self, total, done): ...

    def hear(self, run_id, kind, *told):
        self.kinds.append((run_id, kind))

    def recorded(self, record): ...

    def say(self, line):
        self.lines.append(line)


def fulfil(runner, names, workers):
    store, heard = RunStore(runner.folder), Heard()
    store.run_missing(
        [Planned(name) for name in names],
        runner,
        is_done=lambda plan: plan.run_id in store.by_run(),
        listener=heard,
        workers=workers,
    )
    return {row["run_id"]: row for row in read(runner.folder / "runs.jsonl")}, heard


def tries(runner, name):
    return len(runner.attempts(Planned(name)).read_text().split())


def test_two_processes_share_the_runs_and_every_run_is_recorded_once(tmp_path):
    runner = Counting(tmp_path, seconds=0.3)
    rows, heard = fulfil(runner, "abcdef", Workers(2))
    assert len(read(tmp_path / "runs.jsonl")) == len(rows) == 6
    assert {tries(runner, name) for name in rows} == {1}
    pids = {row["by"] for row in rows.values()}
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert sorted(heard.kinds) == [(name, "begin") for name in "abcdef"]


def test_a_killed_process_costs_the_run_in_its_hands_which_is_begun_again(tmp_path):
    runner = Counting(tmp_path, kill=("b",), seconds=0.2)
    rows, heard = fulfil(runner, "abcd", Workers(2))
    assert {name: tries(runner, name) for name in rows} == {"a": 1, "b": 2, "c": 1, "d": 1}
    assert {row["status"] for row in rows.values()} == {"done"}
    assert heard.lines == ["b: its process died; it is begun again."]
    assert ("b", "lost") in heard.kinds


def test_a_run_that_kills_its_process_every_time_has_failed_and_the_others_finish(tmp_path):
    runner = Counting(tmp_path, kill_always=("a",))
    rows, _ = fulfil(runner, "abc", Workers(2))
    assert tries(runner, "a") == 3
    assert rows["a"]["error"] == "its process died, 3 times"
    assert {name: row["status"] for name, row in rows.items()} == {
        "a": "failed", "b": "done", "c": "done",
    }  # fmt: skip


def test_a_run_that_hangs_is_stopped_and_begun_again(tmp_path):
    runner = Counting(tmp_path, hang=("a",))
    rows, heard = fulfil(runner, "ab", Workers(1, run_timeout_s=1.5))
    assert {name: tries(runner, name) for name in rows} == {"a": 2, "b": 1}
    assert heard.lines == ["a: it took longer than --run-timeout 1.5; it is begun again."]


def test_what_concerns_all_runs_is_raised_with_its_own_type_and_words(tmp_path):
    runner = Counting(tmp_path, refuse=("b",))
    with pytest.raises(RequestError, match="the data are not there"):
        fulfil(runner, "abcd", Workers(2))
    assert "b" not in RunStore(tmp_path).by_run()
    assert RunStore(tmp_path).lock_run("b") is not None


@dataclass(frozen=True)
class Squares:
    """Answers with the square of a plan's number, or dies."""

    deadly: str = ""

    def __call__(self, plan, tell):
        if plan.run_id == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        tell("say", f"{plan.run_id}: squared", os.environ.get("FIXHEAD_TEST"))
        tell("answer", int(plan.run_id) ** 2)

    def failure(self, plan, reason): ...


@pytest.mark.parametrize("jobs", [1, 2])
def test_answers_come_in_the_order_of_the_plans_wherever_they_are_found(jobs, monkeypatch):
    monkeypatch.setenv("FIXHEAD_TEST", f"of today, {jobs}")  # after the fork server was started
    heard, plans = [], [Planned(str(number)) for number in range(5)]
    found = Workers(jobs).answers(Squares(), plans, lambda *told: heard.append(told))
    assert found == [0, 1, 4, 9, 16]
    assert sorted(heard) == [("say", f"{n}: squared", f"of today, {jobs}") for n in range(5)]


def test_an_answer_that_kills_its_process_every_time_is_refused():
    plans = [Planned(str(number)) for number in range(3)]
    with pytest.raises(RequestError, match="1: its process died, 3 times; try --jobs 1"):
        Workers(2).answers(Squares("1"), plans, lambda *told: None)


def test_processes_are_forked_from_a_server_that_imported_the_runner_s_module(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from test_pool import Planned, Workers\n"
        "from imports_slowly import Imports\n"
        "if __name__ == '__main__':\n"
        # which a shell may have switched off for what it starts in the background
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    plans = [Planned(name) for name in 'ab']\n"
        "    found = Workers(2).answers(Imports(), plans, print)\n"
        "    print(os.getpid(), *found, flush=True)\n"
        "    os.killpg(0, signal.SIGINT)\n"
    )
    slow = (
        "import os\n"
        "IMPORTED_BY = os.getpid()\n"
        "class Imports:\n"
        "    def __call__(self, plan, tell):\n"
        "        tell('answer', IMPORTED_BY)\n"
        "    def failure(self, plan, reason): ...\n"
    )
    (tmp_path / "imports_slowly.py").write_text(slow)
    (tmp_path / "asks.py").write_text(code)
    paths = [str(tmp_path), str(Path(__file__).parent), *filter(None, sys.path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    told = subprocess.run(
        [sys.executable, str(tmp_path / "asks.py")],
        env=environment, capture_output=True, text=True, start_new_session=True,
    )  # fmt: skip
    ours, first, second = map(int, told.stdout.split())
    assert told.stderr.count("KeyboardInterrupt") == 1  # the server does not hear the keyboard
    if "forkserver" in multiprocessing.get_all_start_methods():
        assert first == second != ours
    else:
        assert len({ours, first, second}) == 3


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or ") Z" not in status.read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="processes are told by their signals")
def test_when_the_asking_process_is_killed_its_runs_end_with_it(tmp_path):
    code = (
        "from pathlib import Path; import sys\n"
        "from test_pool import Counting, Workers, fulfil\n"
        "if __name__ == '__main__':\n"
        "    fulfil(Counting(Path(sys.argv[1]), seconds=60), 'ab', Workers(2))\n"
    )
    script = tmp_path / "asks.py"
    script.write_text(code)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    }
    asking = subprocess.Popen([sys.executable, str(script), str(tmp_path / "out")], env=environment)
    runner = Counting(tmp_path / "out")
    files = [runner.attempts(Planned(name)) for name in "ab"]
    wait_until(lambda: all(file.exists() and file.read_text().endswith("\n") for file in files))
    pids = [int(file.read_text()) for file in files]
    assert all(map(alive, pids))
    asking.send_signal(signal.SIGKILL)
    asking.wait()
    wait_until(lambda: not any(map(alive, pids)))


def wait_until(true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("values", [{"jobs": 0}, {"run_timeout_s": 0.0}, {"run_timeout_s": -1.0}])
def test_impossible_workers_are_refused(values):
    with pytest.raises(RequestError, match=f"got {json.dumps(next(iter(values.values())))}"):
        Workers(**values)


def test_as_many_runs_fit_as_cores_allow_and_one_on_an_accelerator(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert [jobs_that_fit("cpu", threads) for threads in (1, 2, 3, 8, 16)] == [8, 4, 2, 1, 1]
    assert jobs_that_fit("cuda:1", 1) == 1

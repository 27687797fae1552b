"""A comparison's folder, read: configuration, runs, results and histories; nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .._errors import RequestError

Record = dict[str, Any]

CONFIG_SCHEMA = "fixhead.compare/1"
RUN_SCHEMA = "fixhead.run/1"
RESULTS_SCHEMA = "fixhead.results/1"


@dataclass(frozen=True)
class Records:
    """What the page is made from.

    ``runs`` holds the last record of every run, in the file's order; ``histories`` the epochs of
    every run that has any, by run_id; ``name`` is the folder's own name, ``folder`` its path, for
    the pictures that records point to.
    """

    name: str
    config: Record
    results: Record
    runs: tuple[Record, ...] = ()
    histories: dict[str, tuple[Record, ...]] = field(default_factory=dict)
    folder: Path = Path()

    @cached_property
    def heads(self) -> list[str]:
        """The arms, in the order asked for."""
        return [arm["head"] for arm in self.results["arms"]]

    @cached_property
    def done(self) -> list[Record]:
        return [run for run in self.runs if run["status"] == "done"]

    @cached_property
    def failed(self) -> list[Record]:
        return [run for run in self.runs if run["status"] != "done"]

    @cached_property
    def classes(self) -> list[str]:
        """The class names, as the first run that has them tells them."""
        return next((run["classes"] for run in self.runs if run.get("classes")), [])

    @property
    def metric(self) -> str:
        return str(self.results.get("metric", "test_accuracy"))

    def of(self, head: str) -> list[Record]:
        """The finished runs of an arm, by seed."""
        return sorted((r for r in self.done if r["head"] == head), key=lambda run: run["seed"])


def read_records(directory: Path) -> Records:
    """Read a comparison's folder.

    Raises:
        RequestError: a file is missing, cannot be read, or is of another schema.
    """
    if not directory.is_dir():
        raise RequestError(f"report needs a comparison's folder, got {directory}, which is none")
    config = read_json(directory / "config.json", CONFIG_SCHEMA)
    results = read_json(directory / "results.json", RESULTS_SCHEMA)
    runs = _latest(_read_lines(directory / "runs.jsonl"))
    for run in runs:
        if run.get("schema") != RUN_SCHEMA:
            raise RequestError(
                f"{directory / 'runs.jsonl'} was needed with schema {RUN_SCHEMA!r} in every line, "
                f"got {run.get('schema')!r}; it was written by another version of fixhead"
            )
    histories = {run["run_id"]: _history(directory, run["run_id"]) for run in runs}
    return Records(
        name=directory.resolve().name,
        config=config,
        results=results,
        runs=tuple(runs),
        histories={name: epochs for name, epochs in histories.items() if epochs},
        folder=directory,
    )


def dig(record: Any, *path: str) -> Any:
    """``dig(r, "a", "b")`` is r["a"]["b"], or None where either is missing."""
    for name in path:
        if not isinstance(record, dict):
            return None
        record = record.get(name)
    return record


def _loads(text: str | bytes) -> Any:
    """Strict JSON: NaN and infinity, which no record holds, are refused."""
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def read_json(path: Path, schema: str, *, writer: str = "fixhead compare") -> Record:
    """The record of ``schema`` in ``path``, which the command ``writer`` wrote.

    Raises:
        RequestError: it is missing, cannot be read, or is of another schema.
    """
    try:
        found = _loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        again = ", and carries on where it was stopped" if writer == "fixhead compare" else ""
        raise RequestError(
            f"report needs {path.name} in {path.parent}, and it is missing; "
            f"`{writer}` writes it{again}"
        ) from None
    except (OSError, ValueError) as error:
        raise RequestError(f"report cannot read {path}: {error}") from None
    if not isinstance(found, dict) or found.get("schema") != schema:
        raise RequestError(f"{path} was needed with schema {schema!r}, got something else")
    return found


def _read_lines(path: Path) -> list[Record]:
    """Every whole record; a last line that a kill cut off is not one of them."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    found = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record = _loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise RequestError(
                f"{path} must hold one JSON object per line, not so in line {number}"
            )
        found.append(record)
    return found


def _latest(runs: list[Record]) -> list[Record]:
    """The last record of every run: one that failed and was tried again counts once."""
    return list({run.get("run_id"): run for run in runs}.values())


def _history(directory: Path, run_id: str) -> tuple[Record, ...]:
    if not run_id or Path(run_id).name != run_id:
        raise RequestError(f"a run_id must be a plain folder name, got {run_id!r}")
    return tuple(_read_lines(directory / "runs" / run_id / "history.jsonl"))

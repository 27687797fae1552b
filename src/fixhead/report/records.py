"""What a page is made from: the records of a comparison's or an evaluation's folder, read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .._errors import RequestError
from .numbers import mean_std

Record = dict[str, Any]

CONFIG_SCHEMA = "fixhead.compare/1"
RUN_SCHEMA = "fixhead.run/1"
RESULTS_SCHEMA = "fixhead.results/1"
EVALUATION = "evaluation.json"
EVALUATION_SCHEMA = "fixhead.evaluation/1"
PAPER_SCHEMA = "fixhead.paper/1"


@dataclass(frozen=True)
class ComparisonRecords:
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

    def shown(self, head: str) -> Record | None:
        """The run whose matrices stand for an arm: the finished one with the lowest seed."""
        return next((run for run in self.of(head) if run.get("geometry")), None)


@dataclass(frozen=True)
class EvaluationRecords:
    """The record, and the folder that it lies in (for the examples beside it)."""

    content: Record
    folder: Path

    @cached_property
    def models(self) -> list[Record]:
        return list(self.content["models"])

    @cached_property
    def heads(self) -> list[str]:
        """The arms in their order: every head once."""
        return list(dict.fromkeys(_head(model) for model in self.models))

    @property
    def classes(self) -> list[str]:
        return list(self.content["classes"])

    def of(self, head: str) -> list[Record]:
        """The models of an arm."""
        return [model for model in self.models if _head(model) == head]

    def spread(self, head: str, *path: str) -> tuple[float | None, float | None]:
        """Mean and standard deviation of a figure over the models of an arm."""
        found = [dig(model, *path) for model in self.of(head)]
        return mean_std([value for value in found if value is not None])

    @cached_property
    def as_comparison(self) -> ComparisonRecords:
        """The same in a comparison's form, for the figures that both pages draw."""
        return ComparisonRecords(
            name=self.folder.resolve().name,
            config={},
            results={
                "data": self.content["data"],
                "backbone": self.models[0].get("backbone"),
                "arms": [{"head": head} for head in self.heads],
                "pairs": [],
            },
            runs=tuple(_runs(self.models, self.classes)),
            folder=self.folder,
        )


def read_records(directory: Path) -> ComparisonRecords:
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
    return ComparisonRecords(
        name=directory.resolve().name,
        config=config,
        results=results,
        runs=tuple(runs),
        histories={name: epochs for name, epochs in histories.items() if epochs},
        folder=directory,
    )


def read_evaluation(directory: Path) -> EvaluationRecords:
    """Read ``directory/evaluation.json``.

    Raises:
        RequestError: it is missing, cannot be read, or is of another schema.
    """
    content = read_json(directory / EVALUATION, EVALUATION_SCHEMA, writer="fixhead evaluate")
    return EvaluationRecords(content, directory)


def is_paper(directory: Path) -> bool:
    """Whether a folder holds a paper's results rather than a comparison's."""
    try:
        found = json.loads((directory / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("schema") == PAPER_SCHEMA


def read_paper_results(directory: Path) -> Record:
    """A paper's ``results.json``.

    Raises:
        RequestError: it is missing, cannot be read, or is of another schema.
    """
    path = directory / "results.json"
    if not path.exists():
        raise RequestError(f"report needs results.json in {directory}, and it is missing")
    return read_json(path, PAPER_SCHEMA)


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


def _head(model: Record) -> str:
    return str(model.get("head") or model["name"])


def _runs(models: Sequence[Record], classes: Sequence[str]) -> list[Record]:
    return [
        {
            "run_id": model["name"],
            "head": _head(model),
            "head_sentence": model.get("head_sentence"),
            "seed": place if model.get("seed") is None else model["seed"],
            "status": "done",
            "classes": list(classes),
            "per_class_accuracy": model["per_class_accuracy"],
            "geometry": {**model["geometry"], "areas": model.get("areas")},
            "examples": model.get("examples"),
        }
        for place, model in enumerate(models)
    ]

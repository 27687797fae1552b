"""What a page is made from: the records of a comparison's or an evaluation's folder, read, and what
the names of its arms mean, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .._errors import RequestError
from ..runs.layout import (
    COMPARISON_SCHEMA,
    CONFIG_FILE,
    EVALUATION_FILE,
    EVALUATION_SCHEMA,
    HISTORY_FILE,
    PAPER_SCHEMA,
    RESULTS_FILE,
    RESULTS_SCHEMA,
    RUN_FOLDERS,
    RUN_SCHEMA,
    RUNS_FILE,
)
from ..runs.records import Record, latest, read, read_json
from .numbers import mean_std

Settings = Mapping[str, Sequence[Any]]
"""Field → the values that some runs have, each once."""


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
    config = _record(directory / CONFIG_FILE, COMPARISON_SCHEMA, "fixhead compare")
    results = _record(directory / RESULTS_FILE, RESULTS_SCHEMA, "fixhead compare")
    runs = latest(read(directory / RUNS_FILE))
    for run in runs:
        if run.get("schema") != RUN_SCHEMA:
            raise RequestError(
                f"{directory / RUNS_FILE} was needed with schema {RUN_SCHEMA!r} in every line, "
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
    content = _record(directory / EVALUATION_FILE, EVALUATION_SCHEMA, "fixhead evaluate")
    return EvaluationRecords(content, directory)


def is_paper(directory: Path) -> bool:
    """Whether a folder holds a paper's results rather than a comparison's."""
    try:
        read_paper_results(directory)
    except RequestError:
        return False
    return True


def read_paper_results(directory: Path) -> Record:
    """A paper's ``results.json``.

    Raises:
        RequestError: it is missing, cannot be read, or is of another schema.
    """
    missing = f"report needs {RESULTS_FILE} in {directory}, and it is missing"
    return read_json(directory / RESULTS_FILE, PAPER_SCHEMA, missing=missing)


def dig(record: Any, *path: str) -> Any:
    """``dig(r, "a", "b")`` is r["a"]["b"], or None where either is missing."""
    for name in path:
        if not isinstance(record, dict):
            return None
        record = record.get(name)
    return record


def _record(path: Path, schema: str, writer: str) -> Record:
    """The record that the command ``writer`` wrote, or which command to start."""
    again = ", and carries on where it was stopped" if writer == "fixhead compare" else ""
    missing = f"report needs {path.name} in {path.parent}, and it is missing"
    return read_json(path, schema, missing=f"{missing}; `{writer}` writes it{again}")


def settings_of_arms(arms: Sequence[Sequence[Record]]) -> tuple[Settings, list[Settings]]:
    """Neck, loss and the whole training configuration of each arm's runs, as their records say.

    What all runs share, and for each arm what is not shared; values stand once each.
    """
    found = [_settings(runs) for runs in arms]
    names = dict.fromkeys(name for settings in found for name in settings)
    shared = {
        name: found[0].get(name, [])
        for name in names
        if all(one.get(name) == found[0].get(name) for one in found)
    }
    return shared, [
        {name: one.get(name, []) for name in names if name not in shared} for one in found
    ]


def _settings(runs: Sequence[Record]) -> dict[str, list[Any]]:
    rows = [
        {"neck": run.get("neck"), "loss": run.get("loss"), **(run.get("config") or {})}
        for run in runs
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _distinct([row.get(name) for row in rows]) for name in names}


def _distinct(values: Sequence[Any]) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        if value not in kept:
            kept.append(value)
    return kept


def _history(directory: Path, run_id: str) -> tuple[Record, ...]:
    if not run_id or Path(run_id).name != run_id:
        raise RequestError(f"a run_id must be a plain folder name, got {run_id!r}")
    return tuple(read(directory / RUN_FOLDERS / run_id / HISTORY_FILE))


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
            **(model.get("trained_with") or {}),
        }
        for place, model in enumerate(models)
    ]


_VECTORS = {
    "linear": "nn.Linear",
    "simplex": "simplex",
    "hadamard": "Hadamard",
    "nonnegative_orthogonal": "non-negative orthogonal",
    "spherical_code": "spherical-code",
    "block_codes": "block-code",
}
_LOGITS = {"dot": "dot-product", "cosine": "cosine"}


@dataclass(frozen=True)
class ArmWords:
    """A head's switches as its records say them; all empty where no record does.

    ``chosen`` is the construction that the word ``auto`` came to, ``because`` the reason for it.
    """

    name: str
    vectors: str = ""
    logits: str = ""
    scale: str = ""
    learned: bool | None = None
    code_width: str = ""
    label: str = ""
    chosen: str = ""
    because: str = ""

    @property
    def named(self) -> str:
        """The name; where it leaves the vectors to be chosen, with which they are, and why."""
        return f"{self.name} ({self.phrase}{self._why})" if self.chosen else self.name

    @property
    def _why(self) -> str:
        return f", because {self.because}" if self.because else ""

    @property
    def shown(self) -> str:
        """The name, or a short one in place of a long specification."""
        return self.label or self.name

    @property
    def phrase(self) -> str:
        """``frozen random vectors``, or the bare name where nothing is known."""
        if self.learned is None:
            return self.name
        if self.learned:
            return "learned vectors"
        mapped = (
            f" behind a learned map to {self.code_width}" if self.code_width.isdecimal() else ""
        )
        vectors = self.chosen or self.vectors
        return f"frozen {_VECTORS.get(vectors, vectors)} vectors{mapped}"

    @property
    def setting(self) -> str:
        """``cosine logits at S = 1``: what a frozen and a learned arm may share."""
        logits = f"{_LOGITS.get(self.logits, self.logits)} logits"
        if self.logits == "dot" and self.scale in ("", "1"):
            return logits
        if self.scale == "learned":
            return f"{logits} with a learned scale"
        if self.scale == "auto":
            return f"{logits} at the solved scale"
        return f"{logits} at S = {self.scale}"

    @property
    def description(self) -> str:
        """One line for the table: ``frozen random vectors, cosine logits at S = 1``."""
        if self.learned is None:
            return ""
        start = "" if not self.learned else f", started from {_start(self.vectors)}"
        return f"{self.phrase}{start}{self._why}; {self.setting}"


def arms_by_name(records: ComparisonRecords) -> dict[str, ArmWords]:
    """Every arm's head, in order."""
    sentences = {run["head"]: run.get("head_sentence") for run in records.runs}
    reasons = {run["head"]: run["head_reason"] for run in records.runs if run.get("head_reason")}
    labels = _labels(records.heads)
    arms = {}
    for name in records.heads:
        chosen, _, because = reasons.get(name, "").partition(": ")
        words = parse(name, sentences.get(name))
        arms[name] = replace(words, label=labels[name], chosen=chosen, because=because)
    return arms


_USUAL = {"bias": "no", "learn": "no", "neck": "none", "loss": "cross-entropy", "reweight": "never"}


def _labels(names: Sequence[str]) -> dict[str, str]:
    """Short names for heads that are given as a specification, unless two would be the same."""
    short = {name: _short(name) for name in names}
    every = list(short.values())
    return {name: one if every.count(one) == 1 else name for name, one in short.items()}


def _short(name: str) -> str:
    """``vectors=simplex,logits=cosine,scale=auto,neck=batchnorm`` → ``simplex, cosine, S auto,
    neck batchnorm``; what is usual is left out."""
    parts = dict(part.split("=", 1) for part in name.split(",") if "=" in part)
    if not {"vectors", "logits"} <= parts.keys():
        return name
    said = [parts.pop("vectors"), parts.pop("logits")]
    scale = parts.pop("scale", "1")
    said += [f"S {scale}"] if scale != "1" or said[1] != "dot" else []
    said += ["learned"] if parts.get("learn") == "yes" else []
    parts.pop("learn", None)
    more = [f"{key} {value}" for key, value in parts.items() if _USUAL.get(key) != value]
    return ", ".join([*said, *more])


def parse(name: str, sentence: str | None) -> ArmWords:
    """``vectors=random,logits=cosine,scale=1,bias=no,learn=no`` → its switches."""
    parts = dict(
        part.split("=", 1) for part in (sentence or "").replace(" ", "").split(",") if "=" in part
    )
    if not {"vectors", "logits", "learn"} <= parts.keys():
        return ArmWords(name)
    return ArmWords(
        name,
        parts["vectors"],
        parts["logits"],
        parts.get("scale", ""),
        parts["learn"] == "yes",
        parts.get("code_width", ""),
    )


def matched(a: ArmWords, b: ArmWords) -> bool:
    """Two arms that differ in one thing only: random vectors frozen, or learned."""
    if a.learned is None or b.learned is None or a.learned == b.learned:
        return False
    frozen = b if a.learned else a
    alike = (a.logits, a.scale) == (b.logits, b.scale)
    return alike and frozen.vectors == "random" and frozen.code_width in ("", "none")


def _start(vectors: str) -> str:
    return "nn.Linear's own" if vectors == "linear" else f"{_VECTORS.get(vectors, vectors)} ones"

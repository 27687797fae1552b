"""The runs of a paper: each cell done once, whoever needs it, by as many processes as there are.

``runs.jsonl`` has a record per cell, ``measures.jsonl`` what was measured of trained models,
``runs/CELL/`` a run's history and its model. A cell in hand is locked, so that several processes
may work on one store; a stop loses at most the epoch in hand.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from .._errors import RequestError
from ..comparison import Comparison
from ..comparison.config import RunPlan
from ..comparison.execute import run
from ..comparison.progress import ComparisonProgress
from ..comparison.setting import Setting, load_data
from ..data import Dataset
from ..runs import machine, records
from ..runs.layout import (
    COMPUTED_SCHEMA,
    HISTORY_FILE,
    MEASURES_FILE,
    MODEL_FILE,
    RUN_FOLDERS,
    RUNS_FILE,
)
from ..runs.records import Record
from ..training import Classifier, load_classifier, remove_checkpoint, resolve_device
from .item import ComputedCell, PaperCell, TrainingCell
from .measures import MEASURES

CHECKPOINT_EVERY_S = 30.0


@dataclass(frozen=True)
class CellPlan(RunPlan):
    """A run under its cell's name."""

    cell: str = ""

    @property
    def run_id(self) -> str:
        return self.cell


@dataclass
class Store:
    """The runs in ``folder``. ``keep_models=False`` removes a model once it is measured."""

    folder: Path
    data_dir: Path | None = None
    device: str = "auto"
    keep_models: bool = True
    progress: ComparisonProgress = field(default_factory=ComparisonProgress)
    _data: dict[tuple[object, ...], Dataset] = field(default_factory=dict)

    def run_missing(self, cells: Sequence[PaperCell]) -> None:
        """Do what is missing of ``cells``; what another process has in hand is waited for.

        Raises:
            RequestError: data, backbone or head of a cell cannot be had as asked.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._repair()
        known = self.records(cells)
        open_ = [cell for cell in cells if not _is_done(cell, known)]
        self.progress.begin(len(cells), len(cells) - len(open_))
        while open_:
            left = [cell for cell in open_ if not self._try(cell)]
            if len(left) == len(open_):
                time.sleep(1.0)  # all that is left is in other hands
            open_ = left

    def records(self, cells: Sequence[PaperCell]) -> dict[str, Record]:
        """The records of the cells that are done, by name, with history and measures."""
        found = {row["cell"]: row for row in records.read(self.folder / RUNS_FILE)}
        measured: dict[str, Record] = {}
        for row in records.read(self.folder / MEASURES_FILE):
            measured.setdefault(row["cell"], {})[row["measure"]] = row["found"]
        return {
            cell.name: found[cell.name]
            | {"measures": measured.get(cell.name, {}), "history": self._history(cell.name)}
            for cell in cells
            if cell.name in found
        }

    def setting(self, comparison: Comparison) -> Setting:
        """A comparison with its data loaded; the data are read once for all cells that share it."""
        folder = None if self.data_dir is None else str(self.data_dir)
        chosen = replace(comparison, data_dir=folder, device=self.device)
        key = (chosen.data, chosen.image_size, chosen.imbalance, chosen.train_images)
        if key not in self._data:
            self._data[key] = load_data(chosen)
        return Setting(chosen, self._data[key], resolve_device(self.device))

    def _repair(self) -> None:
        with FileLock(self.folder / ".lock"):
            for name in (RUNS_FILE, MEASURES_FILE):
                if records.repair(self.folder / name):
                    self.progress.say(f"The last line of {name} was cut off by a stop.")

    def _try(self, cell: PaperCell) -> bool:
        """Do a cell; False where another process has it in hand."""
        folder = self.folder / RUN_FOLDERS / cell.name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / ".lock", timeout=0):
                if not _is_done(cell, self.records([cell])):
                    self._do(cell, folder)
        except Timeout:
            return False
        return True

    def _do(self, cell: PaperCell, folder: Path) -> None:
        if isinstance(cell, ComputedCell):
            self._append(RUNS_FILE, self._computed(cell))
            return
        assert isinstance(cell, TrainingCell)
        setting = self.setting(cell.comparison)
        done = self.records([cell]).get(cell.name)
        if done is None or (done["status"] == "done" and not _has_model(folder)):
            done = self._train(cell, setting, again=done is not None)
        if done["status"] == "done":
            self._measure(cell, setting, folder)

    def _train(self, cell: TrainingCell, setting: Setting, *, again: bool) -> Record:
        """The run's record; where only its model had gone, the record stays the first one."""
        comparison = setting.comparison
        plan = CellPlan(cell.head, cell.seed, comparison.recipe, cell.name)
        row = run(
            setting,
            plan,
            self.folder,
            self.progress.of_run(cell.name),
            checkpoint_every_s=CHECKPOINT_EVERY_S,
        )
        row |= {"cell": cell.name}
        if not again:
            self._append(RUNS_FILE, row)
        remove_checkpoint(self.folder / RUN_FOLDERS / cell.name)
        self.progress.finished(row)
        return row

    def _measure(self, cell: TrainingCell, setting: Setting, folder: Path) -> None:
        known = self.records([cell])[cell.name]["measures"]
        missing = [name for name in cell.measures if name not in known]
        if missing:
            model: Classifier = load_classifier(folder)[0].to(setting.device)
            for name in missing:
                found = MEASURES[name](model, setting, cell.seed)
                row = {"cell": cell.name, "measure": name, "found": found}
                self._append(MEASURES_FILE, row | {"commit": machine.commit()})
        if not self.keep_models:
            for path in folder.glob("model.*"):
                path.unlink()

    def _computed(self, cell: ComputedCell) -> Record:
        started = machine.now()
        start = time.perf_counter()
        found = cell.compute(self.setting, cell.seed, **dict(cell.arguments))
        self.progress.say(f"{cell.name}: computed")
        return {
            "schema": COMPUTED_SCHEMA,
            "cell": cell.name,
            "run_id": cell.name,
            "status": "done",
            "error": None,
            "function": cell.function,
            "arguments": dict(cell.arguments),
            "seed": cell.seed,
            "found": found,
            "seconds": time.perf_counter() - start,
        } | machine.origin(torch.device("cpu"), started)

    def _append(self, file: str, row: Record) -> None:
        with FileLock(self.folder / ".lock"):
            records.append(self.folder / file, row)

    def _history(self, name: str) -> list[Record]:
        return records.read(self.folder / RUN_FOLDERS / name / HISTORY_FILE)


def _is_done(cell: PaperCell, known: Mapping[str, Record]) -> bool:
    found = known.get(cell.name)
    return found is not None and (
        found["status"] != "done" or all(one in found["measures"] for one in cell.measures)
    )


def _has_model(folder: Path) -> bool:
    return (folder / MODEL_FILE).exists()


def share_of(cells: Sequence[PaperCell], text: str | None) -> list[PaperCell]:
    """The cells that ``--cells`` names: ``2/4`` (the second of four shares), or patterns.

    Raises:
        RequestError: a share that is none, or patterns that name no cell.
    """
    if text is None:
        return list(cells)
    part, slash, whole = text.partition("/")
    if slash and part.isdecimal() and whole.isdecimal():
        if not 1 <= int(part) <= int(whole):
            raise RequestError(f"--cells I/N needs I from 1 to N, got {text!r}")
        return list(cells[int(part) - 1 :: int(whole)])
    patterns = [one.strip() for one in text.split(",") if one.strip()]
    chosen = [c for c in cells if any(fnmatchcase(c.name, f"*{one}*") for one in patterns)]
    if not chosen:
        raise RequestError(
            f"--cells needs I/N or parts of cells' names, got {text!r}, which names none; "
            f"the first is {cells[0].name if cells else 'missing'}"
        )
    return chosen

"""The runs of a paper: each cell done once, whoever needs it, by as many processes as there are.

``runs.jsonl`` has a record per cell, ``measures.jsonl`` what was measured of trained models,
``runs/CELL/`` a run's history and its model; ``fixhead.runs.store`` says how they are kept.
``MEASURES`` names what is measured of a trained model beyond a run's record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._errors import RequestError
from ..comparison.config import Comparison, RunPlan
from ..comparison.context import Context, load_data
from ..comparison.run import run, run_failure
from ..comparison.terminal import ComparisonProgress, RunProgress
from ..data.corruptions.apply import corrupted
from ..data.corruptions.tables import PAPER, table_for
from ..data.dataset import Dataset, Split
from ..data.shifted_sets import load_shifted_set
from ..evaluation.details import describe_collapse, describe_compactness, examine
from ..evaluation.outputs import eval_mode, hits
from ..geometry.planes import principal_plane
from ..runs import machine
from ..runs.layout import COMPUTED_SCHEMA, MEASURES_FILE, MODEL_FILE, RUNS_FILE
from ..runs.pool import Tell, Workers
from ..runs.records import Record
from ..runs.store import RunStore
from ..training.checkpoints import load_classifier
from ..training.engine import resolve_device
from ..training.model import Classifier
from .item import ComputedCell, PaperCell, TrainingCell

CHECKPOINT_EVERY_S = 30.0


@dataclass(frozen=True)
class CellPlan(RunPlan):
    """A run under its cell's name."""

    cell: str = ""

    @property
    def run_id(self) -> str:
        return self.cell


@dataclass
class PaperStore:
    """The runs in ``folder``. ``keep_models=False`` removes a model once it is measured."""

    folder: Path
    data_dir: Path | None = None
    device: str = "auto"
    keep_models: bool = True
    workers: Workers = field(default_factory=Workers)
    progress: ComparisonProgress = field(default_factory=ComparisonProgress)

    def __post_init__(self) -> None:
        self._runs = RunStore(self.folder)

    def run_missing(self, cells: Sequence[PaperCell]) -> None:
        """Do what is missing of ``cells``; what another process has in hand is waited for.

        Raises:
            RequestError: data, backbone or head of a cell cannot be had as asked.
        """
        for file in self._runs.repair(RUNS_FILE, MEASURES_FILE):
            self.progress.say(f"The last line of {file} was cut off by a stop.")
        self._runs.run_missing(
            cells,
            CellRunner(self.folder, self.data_dir, self.device),
            is_done=self._is_done,
            finish=self._finish,
            listener=self.progress,
            workers=self.workers.with_threads(torch.get_num_threads()),
        )

    def records(self, cells: Sequence[PaperCell]) -> dict[str, Record]:
        """The records of the cells that are done, by name, with history and measures."""
        done, measured = self._runs.by_run(), _measured(self._runs)
        return {
            cell.name: done[cell.name]
            | {"measures": measured.get(cell.name, {}), "history": self._runs.history(cell.name)}
            for cell in cells
            if cell.name in done
        }

    def _is_done(self, cell: PaperCell) -> bool:
        record = self._runs.by_run().get(cell.name)
        if record is None or record["status"] != "done":
            return record is not None
        return all(name in _measured(self._runs).get(cell.name, {}) for name in cell.measures)

    def _finish(self, cell: PaperCell) -> None:
        self._runs.discard_checkpoint(cell.name)
        if not self.keep_models:
            for path in self._runs.run_folder(cell.name).glob("model.*"):
                path.unlink()


@dataclass
class CellRunner:
    """Does one cell: trains and measures, or computes. Its data are read once."""

    folder: Path
    data_dir: Path | None
    device: str
    _datasets: dict[tuple[object, ...], Dataset] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_datasets": {}}  # another process reads the data itself

    def __call__(self, cell: PaperCell, tell: Tell) -> None:
        if isinstance(cell, ComputedCell):
            tell("record", RUNS_FILE, self._compute(cell))
            return
        assert isinstance(cell, TrainingCell)
        context, store = self.context(cell.comparison), RunStore(self.folder)
        record = store.by_run().get(cell.name)
        has_model = (store.run_folder(cell.name) / MODEL_FILE).exists()
        if record is None or (record["status"] == "done" and not has_model):
            again = record is not None
            record = self._train(cell, context, tell)
            if not again:  # where only its model had gone, the record stays the first one
                tell("record", RUNS_FILE, record)
        if record["status"] == "done":
            self._measure(cell, context, store, tell)

    def in_folder(self, folder: Path) -> CellRunner:
        return replace(self, folder=folder)

    def failure(self, cell: PaperCell, reason: str) -> tuple[str, Record]:
        if isinstance(cell, ComputedCell):
            return RUNS_FILE, self._computed(cell, "failed", reason, None, 0.0, machine.now())
        assert isinstance(cell, TrainingCell)
        record = run_failure(self.context(cell.comparison), _plan(cell), reason)
        return RUNS_FILE, record | {"cell": cell.name}

    def context(self, comparison: Comparison) -> Context:
        """A comparison with its data loaded; the data are read once for all cells that share it."""
        folder = None if self.data_dir is None else str(self.data_dir)
        chosen = replace(comparison, data_dir=folder, device=self.device)
        key = (chosen.data, chosen.image_size, chosen.imbalance, chosen.train_images)
        if key not in self._datasets:
            self._datasets[key] = load_data(chosen)
        return Context(chosen, self._datasets[key], resolve_device(self.device))

    def _train(self, cell: TrainingCell, context: Context, tell: Tell) -> Record:
        record = run(
            context,
            _plan(cell),
            self.folder,
            RunProgress(tell),
            checkpoint_every_s=CHECKPOINT_EVERY_S,
        )
        return record | {"cell": cell.name}

    def _measure(self, cell: TrainingCell, context: Context, store: RunStore, tell: Tell) -> None:
        known = _measured(store).get(cell.name, {})
        missing = [name for name in cell.measures if name not in known]
        if not missing:
            return
        model = load_classifier(store.run_folder(cell.name))[0].to(context.device)
        for name in missing:
            found = MEASURES[name](model, context, cell.seed)
            record = {"cell": cell.name, "measure": name, "found": found}
            tell("record", MEASURES_FILE, record | {"commit": machine.commit()})

    def _compute(self, cell: ComputedCell) -> Record:
        started = machine.now()
        start = time.perf_counter()
        found = cell.compute(self.context, cell.seed, **dict(cell.arguments))
        return self._computed(cell, "done", None, found, time.perf_counter() - start, started)

    @staticmethod
    def _computed(
        cell: ComputedCell,
        status: str,
        error: str | None,
        found: Record | None,
        seconds: float,
        started: str,
    ) -> Record:
        return {
            "schema": COMPUTED_SCHEMA,
            "cell": cell.name,
            "run_id": cell.name,
            "status": status,
            "error": error,
            "function": cell.function,
            "arguments": dict(cell.arguments),
            "seed": cell.seed,
            "found": found,
            "seconds": seconds,
        } | machine.origin(torch.device("cpu"), started)


def _plan(cell: TrainingCell) -> CellPlan:
    return CellPlan(cell.head, cell.seed, cell.comparison.recipe, cell.name)


def _measured(store: RunStore) -> Mapping[str, Record]:
    """What was measured of every cell's model, by the measure's name."""
    found: dict[str, Record] = {}
    for row in store.records(MEASURES_FILE):
        found.setdefault(row["cell"], {})[row["measure"]] = row["found"]
    return found


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


Measure = Callable[[Classifier, Context, int], Record]
"""A trained model, its context and its seed → plain JSON."""

POINTS_PER_CLASS = 30
CORRUPTED_IMAGES = 2_000
BATCH = 500


def compactness(model: Classifier, context: Context, seed: int) -> Record:
    """Cosines to the own and to the predicted vector, norms, separability; and neural collapse."""
    batches = _test(context, context.dataset.test, seed)
    detail = examine(model, batches, classes=len(context.dataset.classes))
    return describe_compactness(detail) | {"collapse": describe_collapse(detail)}


def training_collapse(model: Classifier, context: Context, seed: int) -> Record:
    """Neural collapse 1 to 4 of the training images, without augmentation."""
    batches = _test(context, context.dataset.train, seed)
    return describe_collapse(examine(model, batches, classes=len(context.dataset.classes)))


def embedding(model: Classifier, context: Context, seed: int) -> Record:
    """The first test images of each class as points of a plane (n, 2): their own where d = 2,
    else the principal plane of these features; with the class vectors there."""
    labels = context.dataset.test.labels
    chosen = [np.flatnonzero(labels == c)[:POINTS_PER_CLASS] for c in np.unique(labels)]
    split = context.dataset.test.take(np.concatenate(chosen))
    points = _features(model, _test(context, split, seed)).double()
    vectors = model.head.vectors.detach().cpu().double()
    kept = 1.0
    if points.shape[1] > 2:
        plane = principal_plane(points)
        points, vectors, kept = plane.project(points), vectors @ plane.axes.T, plane.kept
    return {
        "points": _rounded(points),
        "labels": split.labels.tolist(),
        "vectors": _rounded(vectors),
        "kept": kept,
    }


def corruptions(model: Classifier, context: Context, seed: int) -> Record:
    """Accuracy on the first test images under the paper's three corruptions, by severity 1 to 5."""
    test = context.dataset.test.take(range(min(CORRUPTED_IMAGES, len(context.dataset.test))))
    found: dict[str, list[float]] = {}
    for kind in PAPER:
        found[kind] = [
            _accuracy(model, context, _corrupted(test, kind, severity), seed)
            for severity in range(1, 6)
        ]
    return {"images": len(test), "table": table_for(context.dataset.image_size), "accuracy": found}


def cifar10_1(model: Classifier, context: Context, seed: int) -> Record:
    """Accuracy on CIFAR-10.1 (v6), a new test set for CIFAR-10 (Recht et al. 2018)."""
    given = context.comparison.data_dir
    folder = None if given is None else Path(given)
    extra = load_shifted_set("cifar10.1-v6", context.dataset, data_dir=folder)
    rate = _accuracy(model, context, extra.split, seed)
    return {"images": len(extra.split), "title": extra.title, "accuracy": rate}


MEASURES: dict[str, Measure] = {
    "compactness": compactness,
    "training-collapse": training_collapse,
    "embedding": embedding,
    "corruptions": corruptions,
    "cifar10.1": cifar10_1,
}


def _corrupted(test: Split, kind: str, severity: int) -> Split:
    made = corrupted(test, kind, severity)
    return Split(np.asarray(made.images), made.labels)


def _accuracy(model: Classifier, context: Context, split: Split, seed: int) -> float:
    return float(hits(model, _test(context, split, seed)).double().mean())


def _test(context: Context, split: Split, seed: int) -> Any:
    return context.batches(split, seed, BATCH, shuffle=False)


@torch.no_grad()
def _features(model: Classifier, batches: Any) -> Tensor:
    with eval_mode(model):
        found = [model.head.project(model.features(images)) for images, _ in batches.epoch(0)]
    return torch.cat(found).cpu()


def _rounded(points: Tensor) -> list[list[float]]:
    return [[round(value, 3) for value in row] for row in points.tolist()]

"""The training loop: epochs of steps, a validation pass after each, the best epoch kept.

Nothing waits for the device step by step: losses and hits stay there until the epoch ends, or a
progress report is due.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch

from .._errors import RequestError
from .._seeds import forked
from ..runs.records import Record
from .checkpoints import HistoryFile, RunCheckpoint
from .engine import (
    AveragedWeights,
    Engine,
    Schedule,
    determinism,
    open_fabric,
    resolve_device,
)
from .imprint import imprint_head, reassign_head
from .model import Classifier, Weights, cloned, on_cpu, weights_on_cpu
from .processes import giving_way
from .progress import Progress, SilentProgress
from .recipe import Recipe
from .step import (
    EpochBatches,
    MakeValidationHook,
    Tally,
    check_mixing,
    labelled,
    mixing_of,
    unmixed,
)

if TYPE_CHECKING:
    from lightning_fabric import Fabric

ChooseOn = Literal["accuracy", "balanced_accuracy", "last"]


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to. Weights are on the CPU; the model itself holds the last ones.

    With averaged weights (``recipe.ema``) both are averages, and so is what validation sees; the
    training loss and accuracy are those of the weights that learn.

    history: a row per epoch, fewer than ``recipe.epochs`` where ``recipe.patience`` ended it:
        epoch (from 1), lr (of the epoch's first step), train_loss, train_accuracy, val_loss,
        val_accuracy, seconds (of the whole epoch), images_per_second (of its training part); with
        choose_on="balanced_accuracy" also val_balanced_accuracy, with a validation hook also
        collapse; where the head's scale rises also scale (of the epoch's last step); where it
        began from data also imprint_seconds (of the first epoch, and among its seconds); of
        quantised class vectors from the second epoch on also reassigned, the number of classes
        whose bytes were chosen anew. Accuracies are fractions, losses nats; what concerns
        validation is None where there is no validation split.
    best_epoch: the first one (from 1) with the best validation score; the last one where there is
        no validation split.
    seconds: of all epochs, validation included, also those before a stop.
    images_per_second: the mean over the training parts of all epochs.
    resumed_from: the epoch after which this process went on; 0 for an undisturbed run.
    """

    history: list[Record]
    best_epoch: int
    best_state: Weights
    last_state: Weights
    seconds: float
    images_per_second: float
    device: str
    resumed_from: int


def train(
    model: Classifier,
    train_batches: EpochBatches,
    validation_batches: EpochBatches | None,
    recipe: Recipe,
    *,
    seed: int,
    run_dir: Path | None = None,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
    on_epoch: Callable[[Record], None] | None = None,
    choose_on: ChooseOn = "accuracy",
    validation_hook: MakeValidationHook | None = None,
    checkpoint_every_s: float = 5.0,
    keep_checkpoint: bool = False,
    fabric: Fabric | None = None,
) -> TrainingResult:
    """Train ``model`` in place by ``recipe``, and keep its best and its last weights.

    With ``run_dir``, a row per epoch goes to ``history.jsonl``, and ``checkpoint/`` holds the run
    while it lasts: started again with the same arguments, it carries on from there, and on the CPU
    ends bit for bit where an undisturbed run ends.

    With a ``fabric`` of several processes (``training.processes``), each of them calls this with
    the same batches, process 0 with the ``run_dir``; the checkpoint of any number of processes
    carries on in any other number.

    Args:
        train_batches, validation_batches: asked for ``epoch(number)`` with number from 1 (for
            ``mixed(number)`` where they mix images); without a validation split the last epoch is
            the best.
        seed: draws what the model draws while training (dropout), epoch by epoch.
        on_epoch: called with every finished epoch's row.
        choose_on: the validation score that chooses the epoch and lowers a plateau schedule;
            ``"last"`` for none: the last epoch counts.
        validation_hook: makes what sees each validation pass; what it says is the row's
            ``collapse`` (without a validation split it sees no image, and may speak of the head).
        checkpoint_every_s: seconds between two checkpoints, taken at the end of an epoch.
        keep_checkpoint: leave the finished run's checkpoint, so that a process killed after this
            function need not train again; ``remove_checkpoint(run_dir)`` takes it away.

    Raises:
        RequestError: the recipe cannot be met here, the head's loss cannot take mixed labels, or
            ``run_dir`` holds another run.
        NonFiniteLossError: the loss became infinite or NaN; names the epoch and the step.
    """
    _check(recipe, train_batches, validation_batches, choose_on)
    check_mixing(mixing_of(train_batches), model.head)
    identity = {"seed": seed, "steps_per_epoch": len(train_batches), "choose_on": choose_on}
    checkpoint = RunCheckpoint(run_dir, recipe.to_dict() | identity, checkpoint_every_s)
    history = HistoryFile(run_dir)
    progress = progress or SilentProgress()
    with determinism(recipe.deterministic):
        fabric = fabric or open_fabric(resolve_device(device), recipe)
        first, several = fabric.global_rank == 0, fabric.world_size > 1
        engine = Engine(model, recipe, fabric)
        run = Run(engine, Schedule(recipe, len(train_batches)), recipe.ema)
        state = checkpoint.load()
        resumed_from = run.restore(fabric.broadcast(state) if several else state)
        draws = ("dropout",) if first else ("dropout", fabric.global_rank)
        history.rewrite(run.history)
        run.imprint(train_batches)
        progress.begin(recipe.epochs, len(train_batches), resumed_from)
        try:
            for epoch in range(resumed_from + 1, recipe.epochs + 1):
                if run.has_waited(recipe.patience):
                    break
                with giving_way(fabric), forked(seed, *draws, epoch):
                    row = _learn(run, recipe, epoch, train_batches, progress)
                    with run.averaged():
                        if first and validation_batches is not None:
                            _measure(run, row, validation_batches, choose_on, validation_hook)
                        elif first and validation_hook is not None:
                            row["collapse"] = dict(validation_hook().finish())
                    row = fabric.broadcast(row) if several else row
                with run.averaged():
                    run.finish_epoch(row, row.get(f"val_{choose_on}"))
                history.append(row)
                if checkpoint.due and epoch < recipe.epochs:
                    checkpoint.save(run.state_dict())
                progress.epoch(row)
                if on_epoch is not None:
                    on_epoch(row)
        finally:
            progress.end()
    if not keep_checkpoint:
        checkpoint.remove()
    elif resumed_from < recipe.epochs:
        checkpoint.save(run.state_dict())
    if run.average is not None:
        run.average.swap()  # for good: the averages are what the run came to
    return _result(run, str(engine.device), resumed_from)


class Run:
    """An engine, its schedule, and what the finished epochs came to: what a checkpoint holds."""

    def __init__(self, engine: Engine, schedule: Schedule, ema: float = 0.0) -> None:
        self.engine = engine
        self.schedule = schedule
        self.average = AveragedWeights(engine.model, ema) if ema else None
        self.epoch = 0
        self.history: list[Record] = []
        self.best_epoch = 0
        self.best_score: float | None = None
        self.best_state: Weights = {}
        self.imprint_seconds: float | None = None

    def imprint(self, batches: EpochBatches) -> None:
        """Start from the data where the head asks for it; what was restored began so already."""
        model = self.engine.model
        if model.head.awaits_imprint:
            self.imprint_seconds = imprint_head(model, model.head, lambda: unmixed(batches)).seconds

    def averaged(self) -> AbstractContextManager[None]:
        """The model has the averaged weights inside, where weights are averaged."""
        return nullcontext() if self.average is None else self.average.in_place()

    def has_waited(self, patience: int) -> bool:
        """Whether so many epochs have brought no better score; never where patience is 0."""
        return 0 < patience <= self.epoch - self.best_epoch

    def finish_epoch(self, row: Record, score: float | None) -> None:
        """Keep the row, and the weights if no earlier epoch scored as high.

        Without a score (no validation split) every epoch is the best so far.
        """
        self.epoch = row["epoch"]
        self.history.append(row)
        self.schedule.observe(score)
        if score is None or self.best_score is None or score > self.best_score:
            self.best_epoch, self.best_score = self.epoch, score
            # on its device: fetching them every epoch would hold up an accelerator
            self.best_state = cloned(self.engine.model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain Python values only, for ``torch.load(weights_only=True)``."""
        return {
            "model": self.engine.model.state_dict(),
            "engine": self.engine.state_dict(),
            "schedule": self.schedule.state_dict(),
            "epoch": self.epoch,
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "best_state": self.best_state,
        } | ({} if self.average is None else {"average": self.average.state_dict()})

    def restore(self, state: dict[str, Any] | None) -> int:
        """Go on from a saved state, if there is one; the number of epochs it had finished."""
        if state is not None:
            self.engine.model.load_state_dict(state["model"])
            self.engine.load_state_dict(state["engine"])
            self.schedule.load_state_dict(state["schedule"])
            self.epoch, self.history = state["epoch"], state["history"]
            self.best_epoch, self.best_score = state["best_epoch"], state["best_score"]
            self.best_state = state["best_state"]
            if self.average is not None:
                self.average.load_state_dict(state["average"])
        return self.epoch


def _learn(
    run: Run, recipe: Recipe, epoch: int, batches: EpochBatches, progress: Progress
) -> Record:
    """Learn from every batch once; the epoch's row, its validation still unknown.

    Where labels are mixed, the training accuracy counts the label with the larger share.
    """
    engine, schedule = run.engine, run.schedule
    engine.model.train()
    engine.model.head.begin_epoch(epoch)
    tally = Tally(epoch, average=engine.average)
    first_step = (epoch - 1) * len(batches)
    start = time.perf_counter()
    head = engine.model.head
    changed = None
    if head.quantised and epoch > 1:
        changed = reassign_head(engine.model, head, lambda: unmixed(batches, epoch))
    last_step = max(recipe.epochs * len(batches) - 1, 1)
    for step, (images, labels) in enumerate(labelled(batches, epoch, head.classes)):
        engine.set_learning_rate(recipe.lr * schedule.factor(first_step + step))
        head.set_progress((first_step + step) / last_step)
        tally.add(*engine.learn(images, labels), images=len(labels))
        if run.average is not None:
            run.average.update()
        if progress.due():
            pace = tally.images / (time.perf_counter() - start)
            progress.report(epoch, step + 1, tally.recent_loss(), pace)
    loss, accuracy = tally.finish()
    seconds = time.perf_counter() - start
    row: Record = {
        "epoch": epoch,
        "lr": recipe.lr * schedule.factor(first_step),
        "train_loss": loss,
        "train_accuracy": accuracy,
        "val_loss": None,
        "val_accuracy": None,
        "seconds": seconds,
        "images_per_second": tally.images / seconds,
    }
    if head.rises_to is not None and head.scale is not None:
        row["scale"] = float(head.scale)
    if changed is not None:
        row["reassigned"] = changed
    if run.imprint_seconds is not None and epoch == 1:
        row["imprint_seconds"] = run.imprint_seconds
        row["seconds"] += run.imprint_seconds
    return row


def _measure(
    run: Run,
    row: Record,
    batches: EpochBatches,
    choose_on: ChooseOn,
    make_hook: MakeValidationHook | None,
) -> None:
    """Add what one pass over the validation split gives to the epoch's row."""
    engine = run.engine
    engine.model.eval()
    tally = Tally(row["epoch"], "validation")
    start = time.perf_counter()
    hook = None if make_hook is None else make_hook()
    for images, labels in batches.epoch(row["epoch"]):
        tally.add(*engine.measure(images, labels, hook), labels)
    row["val_loss"], row["val_accuracy"] = tally.finish()
    if choose_on == "balanced_accuracy":
        row["val_balanced_accuracy"] = tally.balanced_accuracy()
    if hook is not None:
        row["collapse"] = dict(hook.finish())
    row["seconds"] += time.perf_counter() - start


def _check(
    recipe: Recipe, train: EpochBatches, validation: EpochBatches | None, choose_on: ChooseOn
) -> None:
    if choose_on not in get_args(ChooseOn):
        raise RequestError(f"choose_on must be one of {get_args(ChooseOn)}, got {choose_on!r}")
    if recipe.schedule == "plateau" and (validation is None or choose_on == "last"):
        raise RequestError(
            "schedule='plateau' needs a validation split, got none that chooses the epoch; try "
            "schedule='step'"
        )
    if recipe.patience and (validation is None or choose_on == "last"):
        raise RequestError(
            f"patience={recipe.patience} needs a validation split that chooses the epoch, got none"
        )
    if len(train) < 1 or (validation is not None and len(validation) < 1):
        raise RequestError("training and validation need at least one batch each, got an empty one")


def _result(run: Run, device: str, resumed_from: int) -> TrainingResult:
    history = run.history
    images = sum(row["images_per_second"] for row in history)
    return TrainingResult(
        history=history,
        best_epoch=run.best_epoch,
        best_state=on_cpu(run.best_state),
        last_state=weights_on_cpu(run.engine.model),
        seconds=sum(row["seconds"] for row in history),
        images_per_second=images / len(history),
        device=device,
        resumed_from=resumed_from,
    )

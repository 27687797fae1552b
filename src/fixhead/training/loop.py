"""The training loop: epochs of steps, a validation pass after each, the best epoch kept.

Nothing waits for the device step by step: losses and hits stay there until the epoch ends, or a
progress report is due.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from .._errors import RequestError
from .._seeds import forked
from .engine import Engine, determinism, resolve_device
from .history import HistoryFile, Row
from .mixing import Batches, check_mixing, labelled, mixing_of
from .model import Classifier
from .progress import Progress, SilentProgress
from .recipe import Recipe
from .resume import RunCheckpoint
from .run import Run, State, copy_of_weights, on_cpu
from .schedules import Schedule
from .tally import Tally
from .watch import MakeWatch

ChooseOn = Literal["accuracy", "balanced_accuracy", "last"]


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to. Weights are on the CPU; the model itself holds the last ones.

    history: a row per epoch (``fixhead.training.history.Row``).
    best_epoch: the first one (from 1) with the best validation score; the last one where there is
        no validation split.
    seconds: of all epochs, validation included, also those before a stop.
    images_per_second: the mean over the training parts of all epochs.
    resumed_from: the epoch after which this process went on; 0 for an undisturbed run.
    """

    history: list[Row]
    best_epoch: int
    best_state: State
    last_state: State
    seconds: float
    images_per_second: float
    device: str
    resumed_from: int


def train(
    model: Classifier,
    train_batches: Batches,
    validation_batches: Batches | None,
    recipe: Recipe,
    *,
    seed: int,
    run_dir: Path | None = None,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    choose_on: ChooseOn = "accuracy",
    watch: MakeWatch | None = None,
    checkpoint_every_s: float = 5.0,
    keep_checkpoint: bool = False,
) -> TrainingResult:
    """Train ``model`` in place by ``recipe``, and keep its best and its last weights.

    With ``run_dir``, a row per epoch goes to ``history.jsonl``, and ``checkpoint/`` holds the run
    while it lasts: started again with the same arguments, it carries on from there, and on the CPU
    ends bit for bit where an undisturbed run ends.

    Args:
        train_batches, validation_batches: asked for ``epoch(number)`` with number from 1 (for
            ``mixed(number)`` where they mix images); without a validation split the last epoch is
            the best.
        seed: draws what the model draws while training (dropout), epoch by epoch.
        on_epoch: called with every finished epoch's row.
        choose_on: the validation score that chooses the epoch and lowers a plateau schedule;
            ``"last"`` for none: the last epoch counts.
        watch: makes what sees each validation pass; what it says is the row's ``collapse``
            (without a validation split it sees no image, and may tell of the head).
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
        engine = Engine(model, recipe, resolve_device(device))
        run = Run(engine, Schedule(recipe, len(train_batches)))
        resumed_from = run.restore(checkpoint.load())
        history.rewrite(run.history)
        progress.begin(recipe.epochs, len(train_batches), resumed_from)
        try:
            for epoch in range(resumed_from + 1, recipe.epochs + 1):
                with forked(seed, "dropout", epoch):
                    row = _learn(run, recipe, epoch, train_batches, progress)
                    if validation_batches is not None:
                        _measure(run, row, validation_batches, choose_on, watch)
                    elif watch is not None:
                        row["collapse"] = dict(watch().finish())
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
    return _result(run, resumed_from)


def _learn(run: Run, recipe: Recipe, epoch: int, batches: Batches, progress: Progress) -> Row:
    """Learn from every batch once; the epoch's row, its validation still unknown.

    Where labels are mixed, the training accuracy counts the label with the larger share.
    """
    engine, schedule = run.engine, run.schedule
    engine.model.train()
    engine.model.head.begin_epoch(epoch)
    tally = Tally(epoch)
    first_step = (epoch - 1) * len(batches)
    start = time.perf_counter()
    head = engine.model.head
    last_step = max(recipe.epochs * len(batches) - 1, 1)
    for step, (images, labels) in enumerate(labelled(batches, epoch, head.classes)):
        engine.set_learning_rate(recipe.lr * schedule.factor(first_step + step))
        head.set_progress((first_step + step) / last_step)
        tally.add(*engine.learn(images, labels))
        if progress.due():
            pace = tally.images / (time.perf_counter() - start)
            progress.report(epoch, step + 1, tally.recent_loss(), pace)
    loss, accuracy = tally.finish()
    seconds = time.perf_counter() - start
    row: Row = {
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
    return row


def _measure(
    run: Run, row: Row, batches: Batches, choose_on: ChooseOn, watch: MakeWatch | None
) -> None:
    """Add what one pass over the validation split gives to the epoch's row."""
    engine = run.engine
    engine.model.eval()
    tally = Tally(row["epoch"], "validation")
    start = time.perf_counter()
    seen = None if watch is None else watch()
    for images, labels in batches.epoch(row["epoch"]):
        tally.add(*engine.measure(images, labels, seen), labels)
    row["val_loss"], row["val_accuracy"] = tally.finish()
    if choose_on == "balanced_accuracy":
        row["val_balanced_accuracy"] = tally.balanced_accuracy()
    if seen is not None:
        row["collapse"] = dict(seen.finish())
    row["seconds"] += time.perf_counter() - start


def _check(recipe: Recipe, train: Batches, validation: Batches | None, choose_on: ChooseOn) -> None:
    if choose_on not in get_args(ChooseOn):
        raise RequestError(f"choose_on must be one of {get_args(ChooseOn)}, got {choose_on!r}")
    if recipe.schedule == "plateau" and (validation is None or choose_on == "last"):
        raise RequestError(
            "schedule='plateau' needs a validation split, got none that chooses the epoch; try "
            "schedule='step'"
        )
    if len(train) < 1 or (validation is not None and len(validation) < 1):
        raise RequestError("training and validation need at least one batch each, got an empty one")


def _result(run: Run, resumed_from: int) -> TrainingResult:
    history = run.history
    images = sum(row["images_per_second"] for row in history)
    return TrainingResult(
        history=history,
        best_epoch=run.best_epoch,
        best_state=on_cpu(run.best_state),
        last_state=copy_of_weights(run.engine.model),
        seconds=sum(row["seconds"] for row in history),
        images_per_second=images / len(history),
        device=str(run.engine.device),
        resumed_from=resumed_from,
    )

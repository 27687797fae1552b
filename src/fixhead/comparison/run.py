"""One run: build, train, choose the epoch on validation, touch the test set once, write a row."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from .._errors import RequestError
from ..backbones.backbone import Backbone
from ..data.dataset import Dataset
from ..evaluation.details import MAX_CLASSES, CollapseMonitor, accuracies, describe_geometry
from ..evaluation.examples import save_examples
from ..evaluation.further_sets import OodSet
from ..evaluation.model_folder import Extras, save_model_folder
from ..evaluation.outputs import evaluate_model
from ..evaluation.projections import describe_areas
from ..evaluation.shot_groups import describe_tail, group_accuracies
from ..heads.spec import HeadSpec
from ..runs import machine
from ..runs.layout import CONFIG_FILE, RUN_FOLDERS, RUN_SCHEMA
from ..runs.pool import Tell
from ..runs.records import (
    FiguresOnTest,
    Record,
    TrainingFigures,
    failed_run,
    finished_run,
    write_json,
)
from ..training.loop import TrainingResult, train
from ..training.model import Classifier
from ..training.progress import Progress
from ..training.step import NonFiniteLossError
from .config import Comparison, RunPlan, TuningPlan
from .context import Context, Parts, open_context
from .terminal import RunProgress

if TYPE_CHECKING:
    from lightning_fabric import Fabric

EXAMPLES = "examples.webp"


@dataclass(frozen=True)
class ComparisonRunner:
    """Does one plan of a comparison. Its data are read once; another process reads its own."""

    comparison: Comparison
    directory: Path
    checkpoint_every_s: float
    fabric: Fabric | None = None
    extras: Extras = field(default_factory=Extras)

    @cached_property
    def outside(self) -> OodSet | None:
        """The images of other classes that choose a score.

        Raises:
            RequestError: no such data, or images of another shape.
        """
        data, folder = self.context.dataset, self.comparison.data_dir
        facts = {"channels": data.channels, "image_size": data.image_size, "bits": data.bits}
        return self.extras.load_outside(facts, None if folder is None else Path(folder))

    @cached_property
    def context(self) -> Context:
        context = open_context(self.comparison)
        return context if self.fabric is None else replace(context, device=self.fabric.device)

    def __getstate__(self) -> dict[str, Any]:
        loaded = ("context", "outside")
        return {name: value for name, value in vars(self).items() if name not in loaded}

    def __call__(self, plan: RunPlan, tell: Tell) -> None:
        if self.fabric is not None:
            self.fabric.broadcast(plan)  # to those who follow
        record = run(
            self.context,
            plan,
            self.directory,
            RunProgress(tell),
            checkpoint_every_s=self.checkpoint_every_s,
            fabric=self.fabric,
            reference=self.extras.reference,
            outside=self.outside,
        )
        tell("record", plan.file, record)

    @property
    def folder(self) -> Path:
        return self.directory

    def in_folder(self, folder: Path) -> ComparisonRunner:
        moved = replace(self, directory=folder)
        vars(moved)["context"] = self.context  # its data stay read
        return moved

    def follow(self) -> None:
        """Take part in the runs of process 0, which alone validates, tests and writes, until it
        broadcasts None in place of a plan."""
        context = self.context
        assert self.fabric is not None
        while (plan := self.fabric.broadcast(None)) is not None:
            with suppress(NonFiniteLossError):  # which process 0 records
                _train(context, plan, context.model(plan), fabric=self.fabric)

    def failure(self, plan: RunPlan, reason: str) -> tuple[str, Record]:
        return plan.file, run_failure(self.context, plan, reason)


def run(
    context: Context,
    plan: RunPlan,
    directory: Path,
    progress: Progress,
    *,
    checkpoint_every_s: float = 5.0,
    fabric: Fabric | None = None,
    reference: bool = False,
    outside: OodSet | None = None,
) -> Record:
    """The record of one finished run; a run that breaks gives a record with its error.

    ``reference`` and ``outside`` are for the model's folder (``evaluation.model_folder``). With a
    ``fabric`` of several processes, the others train along (``ComparisonRunner.follow``).

    What concerns the whole comparison is raised: a full disk, a stop by the keyboard, a request
    that cannot be met.
    """
    started = machine.now()
    run_dir = directory / RUN_FOLDERS / plan.run_id
    run_dir.mkdir(parents=True, exist_ok=True)
    identity = _identity(context, plan, started)
    if fabric is not None:
        identity |= {"processes": fabric.world_size}
    write_json(run_dir / CONFIG_FILE, identity)
    machine.reset_peak_memory(context.device)
    try:
        figures = _train_and_test(
            context,
            plan,
            identity,
            run_dir,
            progress,
            checkpoint_every_s,
            fabric,
            reference=reference,
            outside=outside,
        )
    except (RequestError, OSError):
        raise
    except Exception as error:
        if fabric is not None and not isinstance(error, NonFiniteLossError):
            raise  # another process may be gone, which is no fault of the run's
        return failed_run(identity, traceback.format_exc())
    peak = machine.peak_memory_bytes(context.device)
    return finished_run(identity, *figures, peak_memory=peak)


def run_failure(context: Context, plan: RunPlan, reason: str) -> Record:
    """The record of a run whose process died again and again."""
    return failed_run(_identity(context, plan, machine.now()), reason)


Figures = TrainingFigures | FiguresOnTest | Record


def _train_and_test(
    context: Context,
    plan: RunPlan,
    identity: Record,
    run_dir: Path,
    progress: Progress,
    checkpoint_every_s: float,
    fabric: Fabric | None,
    *,
    reference: bool,
    outside: OodSet | None,
) -> list[Figures]:
    model = context.model(plan)
    sizes = _sizes(model, plan.recipe.optimizer)
    result, parts = _train(
        context,
        plan,
        model,
        run_dir=run_dir,
        progress=progress,
        checkpoint_every_s=checkpoint_every_s,
        fabric=fabric,
    )
    figures = _training_figures(sizes, result)
    if model.head.reason is not None:
        figures.append({"head_reason": f"{model.head.construction}: {model.head.reason}"})
    if not isinstance(plan, TuningPlan):
        figures += evaluate_on_test(context, model, result, parts, run_dir)
        # What chose the epoch, unless that was the test set.
        held_out = parts.validation if context.comparison.choose == "validation" else None
        description = _description(context, plan, model)
        record = finished_run(identity, *figures, peak_memory=None)
        save_model_folder(
            run_dir,
            model,
            description,
            record,
            held_out,
            training=parts.train.split if reference else None,
            outside=outside,
        )
    return figures


def _train(
    context: Context, plan: RunPlan, model: Classifier, **options: Any
) -> tuple[TrainingResult, Parts]:
    parts = context.parts(plan.seed, plan.recipe.batch_size)
    classes = len(context.dataset.classes)

    def monitor() -> CollapseMonitor:
        return CollapseMonitor(model.head, classes)

    result = train(
        model,
        parts.train,
        parts.validation,
        plan.recipe,
        seed=plan.seed,
        device=context.device,
        choose_on=context.choose_on,
        validation_hook=monitor if classes <= MAX_CLASSES else None,
        keep_checkpoint=True,  # until the row is on disk: a kill in between costs no training
        **options,
    )
    return result, parts


def evaluate_on_test(
    context: Context, model: Classifier, result: TrainingResult, parts: Parts, run_dir: Path
) -> list[Figures]:
    """The test set, touched once: with the last epoch's weights, and with the chosen epoch's.

    Leaves the chosen epoch's weights in ``model``; ``run_dir`` gets pictures of confusions.
    """
    classes = len(context.dataset.classes)
    model.load_state_dict(result.last_state)
    last = best = evaluate_model(model, parts.test, classes=classes)
    if result.best_epoch < len(result.history):
        model.load_state_dict(result.best_state)
        best = evaluate_model(model, parts.test, classes=classes)
    geometry = describe_geometry(
        best,
        model.head.vectors,
        construction=model.head.construction,
        scale=1.0 if model.head.scale is None else float(model.head.scale.detach()),
    )
    if model.head.width == 2:
        geometry["areas"] = describe_areas(
            model.head.vectors,
            model.head.logit_kind,
            bias=model.head.bias is not None,
            names=context.dataset.classes,
        )
    found = accuracies(best)
    figures = FiguresOnTest(
        test_accuracy=found["accuracy"],
        test_loss=found["loss"],
        balanced_accuracy=found["balanced_accuracy"],
        macro_f1=found["macro_f1"],
        per_class_accuracy=found["per_class_accuracy"],
        last_epoch_accuracy=last.right / last.images,
        geometry=geometry,
    )
    tail = describe_tail(context.comparison.imbalance, context.dataset)
    groups = {"group_accuracy": group_accuracies(best.confusion, tail["groups"])} if tail else {}
    sheet = f"{RUN_FOLDERS}/{run_dir.name}/{EXAMPLES}"
    examples = save_examples(run_dir.parent.parent, sheet, parts.test.split, best)
    return [figures, groups, {"examples": examples}]


def _identity(context: Context, plan: RunPlan, started: str) -> dict[str, Any]:
    backbone = context.backbone(plan.seed)
    comparison, spec = context.comparison, context.head_spec(plan.head, plan.seed)
    trained = _trained_with(context, plan, backbone)
    return (
        {
            "schema": RUN_SCHEMA,
            "run_id": plan.run_id,
            "data": comparison.data,
            "classes": list(context.dataset.classes),
            "backbone": context.backbone_name,
            "features": backbone.features,
            "nonnegative_features": backbone.nonnegative,
            "neck": trained["neck"],
            "loss": trained["loss"],
            "optimizer": plan.recipe.optimizer,
            "head": plan.head,
            "head_sentence": str(spec),
            "seed": plan.seed,
            "config": trained["config"],
        }
        | machine.origin(context.device, started)
        | describe_tail(comparison.imbalance, context.dataset)
        | _skipped(context.dataset)
    )


def _skipped(dataset: Dataset) -> dict[str, Any]:
    """The images that were left out because they cannot be decoded, by part, and why."""
    if not dataset.skipped:
        return {}
    reasons = {part: list(found.values()) for part, found in dataset.skipped.items()}
    return {"skipped_images": reasons}


def _trained_with(context: Context, plan: RunPlan, backbone: Backbone) -> dict[str, Any]:
    """Neck, loss and every setting of the training: what pages print as the recipe."""
    comparison, spec = context.comparison, context.head_spec(plan.head, plan.seed)
    return {
        "neck": _neck(backbone, spec),
        "loss": spec.loss,
        "config": plan.recipe.to_dict()
        | {"augmentation": context.augmentation_name, "choose_on": context.choose_on}
        | {"choose": comparison.choose, "initial": comparison.initial}
        | {"train_images": len(context.dataset.train)},
    }


def _neck(backbone: Backbone, spec: HeadSpec) -> str:
    """The neck of all arms, then the arm's own."""
    necks = [name for name in (backbone.neck, spec.neck) if name != "none"]
    return " + ".join(necks) or "none"


def _description(context: Context, plan: RunPlan, model: Classifier) -> dict[str, Any]:
    """All that ``training.load_classifier`` needs to build the model again, and to feed it."""
    dataset, comparison = context.dataset, context.comparison
    reading = comparison.reading.chosen()
    facts = describe_tail(comparison.imbalance, dataset) | ({"reading": reading} if reading else {})
    facts |= {} if dataset.bits == 16 else {"bits": dataset.bits}
    return facts | {
        "data": comparison.data,
        "seed": plan.seed,
        "training_counts": context.training_counts(plan.seed).tolist(),
        "backbone": context.backbone_name,
        "channels": dataset.channels,
        "image_size": dataset.image_size,
        "features": comparison.features,
        "neck": comparison.neck,
        "head": plan.head,
        "classes": list(dataset.classes),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "feature_size": model.head.features,
        "trained_with": _trained_with(context, plan, model.backbone),
    }


def _training_figures(sizes: dict[str, int], result: TrainingResult) -> list[Figures]:
    best = result.history[result.best_epoch - 1]
    figures = TrainingFigures(
        **sizes,
        epochs=len(result.history),
        best_epoch=result.best_epoch,
        val_accuracy=best["val_accuracy"],
        train_seconds=result.seconds,
        images_per_second=result.images_per_second,
    )
    balanced = {name: best[name] for name in ("val_balanced_accuracy",) if name in best}
    return [figures, balanced]


_STATES = {"sgd": 1, "adam": 2, "adamw": 2}
"""Tensors that each optimiser keeps beside a trained one: momentum; two moments."""


def _sizes(model: nn.Module, optimizer: str) -> dict[str, int]:
    """Numbers that are trained, and the bytes the head holds while training.

    head_bytes = what is stored, plus a gradient and the optimiser's state for what is trained.
    """
    head = model.head
    assert isinstance(head, nn.Module)
    trained = [value for value in head.parameters() if value.requires_grad]
    stored = [*head.parameters(), *head.buffers()]
    return {
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "head_parameters": sum(value.numel() for value in trained),
        "head_bytes": _bytes(stored) + (1 + _STATES[optimizer]) * _bytes(trained),
    }


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

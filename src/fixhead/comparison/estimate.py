"""What a comparison would do, and about how long: measured on a few real steps of every arm."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from ..runs.layout import RUNS_FILE
from ..runs.records import read
from ..runs.store import RunStore
from ..training import labelled
from .config import Comparison, RunPlan, plan_runs, plan_tuning
from .run import folder_facts
from .setting import Setting, prepare

WARM_STEPS, TIMED_STEPS = 2, 6
EVALUATION_SHARE = 1 / 3
"""A forward pass costs about a third of a step (forward, and a backward pass of twice that)."""


def describe_plan(comparison: Comparison, directory: Path) -> dict[str, Any]:
    """The runs that are missing in ``directory``, with the seconds each is expected to take.

    Writes nothing. Raises the same RequestErrors as the comparison itself.
    """
    RunStore(directory).refuse_foreign(folder_facts(comparison))
    setting = prepare(comparison)
    done = {row["run_id"] for row in read(directory / RUNS_FILE)}
    seconds = {head: _run_seconds(setting, head) for head in comparison.heads}
    runs = [
        {"run_id": plan.run_id, "head": plan.head, "seed": plan.seed, "seconds": seconds[plan.head]}
        for plan in [*plan_tuning(comparison), *plan_runs(comparison)]
        if plan.run_id not in done
    ]
    dataset = setting.dataset
    return {
        "data": comparison.data,
        "training_images": len(dataset.train),
        "test_images": len(dataset.test),
        "classes": len(dataset.classes),
        "backbone": comparison.backbone,
        "features": setting.backbone(0).features,
        "device": str(setting.device),
        "epochs": comparison.recipe.epochs,
        "done": len(done),
        "runs": runs,
        "seconds": sum(run["seconds"] for run in runs),
    }


def _run_seconds(setting: Setting, head: str) -> float:
    plan = RunPlan(head, 0, setting.comparison.recipe)
    parts = setting.parts(0, plan.recipe.batch_size)
    step = _step_seconds(setting, plan)
    watched = 0 if parts.validation is None else len(parts.validation)
    steps = len(parts.train) + EVALUATION_SHARE * watched
    return step * (plan.recipe.epochs * steps + 2 * EVALUATION_SHARE * len(parts.test))


def _step_seconds(setting: Setting, plan: RunPlan) -> float:
    """Median seconds of one training step, the batch included."""
    model = setting.model(plan).to(setting.device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
    batches = setting.parts(0, plan.recipe.batch_size).train
    times: list[float] = []
    while len(times) < WARM_STEPS + TIMED_STEPS:
        epoch = labelled(batches, len(times), model.head.classes)
        start = time.perf_counter()
        for images, labels in islice(epoch, WARM_STEPS + TIMED_STEPS):
            optimizer.zero_grad()
            torch.autograd.backward(model.head.loss(model.features(images), labels))
            optimizer.step()
            if setting.device.type == "cuda":
                torch.cuda.synchronize(setting.device)
            times.append(time.perf_counter() - start)
            start = time.perf_counter()
    timed = sorted(times[WARM_STEPS : WARM_STEPS + TIMED_STEPS])
    return timed[len(timed) // 2]

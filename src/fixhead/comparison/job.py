"""The main job: every arm and seed once, then statistics and a page, resumable at any moment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from .._version import __version__
from ..report.comparison_page import write_page
from ..runs.layout import COMPARISON_SCHEMA, RESULTS_FILE
from ..runs.pool import Workers
from ..runs.records import Record, write_json
from ..runs.store import RunStore
from ..training.step import labelled
from .config import Comparison, RunPlan, plan_runs, plan_tuning
from .context import Context, check_heads, prepare
from .results import summarise
from .run import ComparisonRunner
from .terminal import ComparisonProgress

WARM_STEPS, TIMED_STEPS = 2, 6
EVALUATION_SHARE = 1 / 3
"""A forward pass costs about a third of a step (forward, and a backward pass of twice that)."""


def compare(
    comparison: Comparison,
    directory: Path,
    *,
    progress: ComparisonProgress | None = None,
    checkpoint_every_s: float = 5.0,
    workers: Workers | None = None,
) -> dict[str, Any]:
    """Run what is missing in ``directory``, and give the content of its results.json.

    Writes runs.jsonl (a row per finished run), results.json, report.html and runs/RUN_ID/. Started
    again after a stop, it repeats no finished run and carries an unfinished one on from its last
    checkpoint; the results are those of an undisturbed comparison, and do not depend on how many
    ``workers`` do the runs.

    Raises:
        RequestError: something cannot be met as asked, or the folder is not this comparison's.
    """
    store, facts = RunStore(directory), folder_facts(comparison)
    store.refuse_foreign(facts)
    runner = ComparisonRunner(comparison, directory, checkpoint_every_s)
    check_heads(runner.context)  # what cannot be met is refused before the folder is made
    progress = progress or ComparisonProgress()
    for line in runner.context.choices:
        progress.say(f"· {line}")
    workers = (workers or Workers()).with_threads(torch.get_num_threads())
    with store.claim(facts):
        rates = _tuned_rates(runner, store, progress, workers)
        rows = _run_missing(plan_runs(comparison, rates), runner, store, progress, workers)
        results = summarise(comparison, rows)
        write_json(directory / RESULTS_FILE, results)
        write_page(directory)
    return results


def describe_plan(comparison: Comparison, directory: Path) -> dict[str, Any]:
    """The runs that are missing in ``directory``, with the seconds each is expected to take.

    Writes nothing. Raises the same RequestErrors as the comparison itself.
    """
    store = RunStore(directory)
    store.refuse_foreign(folder_facts(comparison))
    context = prepare(comparison)
    seconds = {head: _run_seconds(context, head) for head in comparison.heads}
    plans = [*plan_tuning(comparison), *plan_runs(comparison)]
    runs = [
        {"run_id": plan.run_id, "head": plan.head, "seed": plan.seed, "seconds": seconds[plan.head]}
        for plan in plans
        if plan.run_id not in store.by_run(plan.file)
    ]
    dataset = context.dataset
    return {
        "data": comparison.data,
        "training_images": len(dataset.train),
        "test_images": len(dataset.test),
        "classes": len(dataset.classes),
        "backbone": context.backbone_name,
        "features": context.backbone(0).features,
        "device": str(context.device),
        "epochs": comparison.recipe.epochs,
        "choices": context.choices,
        "done": len(plans) - len(runs),
        "runs": runs,
        "seconds": sum(run["seconds"] for run in runs),
    }


def folder_facts(comparison: Comparison) -> Record:
    """What config.json says of a comparison's folder."""
    return {
        "schema": COMPARISON_SCHEMA,
        "fixhead": __version__,
        "config": comparison.to_dict(),
        "digest": comparison.digest,
    }


def _run_missing(
    plans: Sequence[RunPlan],
    runner: ComparisonRunner,
    store: RunStore,
    progress: ComparisonProgress,
    workers: Workers,
) -> list[Record]:
    """The records of all plans, in the order of the plans."""
    for file in store.repair(*{plan.file for plan in plans}):
        progress.say(f"The last line of {file} was cut off by a stop; that run is repeated.")
    store.run_missing(
        plans,
        runner,
        is_done=lambda plan: plan.run_id in store.by_run(plan.file),
        listener=progress,
        workers=workers,
    )
    for plan in plans:  # also those that a kill left behind after their row was written
        store.discard_checkpoint(plan.run_id)
    return [store.by_run(plan.file)[plan.run_id] for plan in plans]


def _tuned_rates(
    runner: ComparisonRunner,
    store: RunStore,
    progress: ComparisonProgress,
    workers: Workers,
) -> dict[str, float]:
    """The learning rate with the best validation score for each head; the smaller one in a tie.

    Empty without --tune. Every head gets the same grid; no tuning run sees the test set.
    """
    comparison = runner.comparison
    plans = plan_tuning(comparison)
    if not plans:
        return {}
    rows = _run_missing(plans, runner, store, progress, workers)
    best: dict[str, float] = {}
    for head in comparison.heads:
        done = [row for row in rows if row["head"] == head and row["status"] == "done"]
        if done:
            chosen = max(done, key=lambda row: (_score(row), -row["config"]["lr"]))
            best[head] = chosen["config"]["lr"]
    return best


def _score(row: Record) -> float:
    """What chose the epoch: balanced accuracy where the classes are unequal."""
    return float(row[f"val_{row['config']['choose_on']}"])


def _run_seconds(context: Context, head: str) -> float:
    plan = RunPlan(head, 0, context.comparison.recipe)
    parts = context.parts(0, plan.recipe.batch_size)
    step = _step_seconds(context, plan)
    watched = 0 if parts.validation is None else len(parts.validation)
    steps = len(parts.train) + EVALUATION_SHARE * watched
    return step * (plan.recipe.epochs * steps + 2 * EVALUATION_SHARE * len(parts.test))


def _step_seconds(context: Context, plan: RunPlan) -> float:
    """Median seconds of one training step, the batch included."""
    model = context.model(plan).to(context.device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
    batches = context.parts(0, plan.recipe.batch_size).train
    times: list[float] = []
    while len(times) < WARM_STEPS + TIMED_STEPS:
        epoch = labelled(batches, len(times), model.head.classes)
        start = time.perf_counter()
        for images, labels in islice(epoch, WARM_STEPS + TIMED_STEPS):
            optimizer.zero_grad()
            torch.autograd.backward(model.head.loss(model.features(images), labels))
            optimizer.step()
            if context.device.type == "cuda":
                torch.cuda.synchronize(context.device)
            times.append(time.perf_counter() - start)
            start = time.perf_counter()
    timed = sorted(times[WARM_STEPS : WARM_STEPS + TIMED_STEPS])
    return timed[len(timed) // 2]

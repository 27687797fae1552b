"""The main job: every arm and seed once, then statistics and a page, resumable at any moment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._version import __version__
from ..report import write_page
from ..runs.layout import COMPARISON_SCHEMA, RESULTS_FILE
from ..runs.records import Record, write_json
from ..runs.store import RunStore
from .config import Comparison, RunPlan, plan_runs, plan_tuning
from .execute import ComparisonRunner
from .progress import ComparisonProgress
from .results import summarise
from .setting import check_heads


def compare(
    comparison: Comparison,
    directory: Path,
    *,
    progress: ComparisonProgress | None = None,
    checkpoint_every_s: float = 5.0,
) -> dict[str, Any]:
    """Run what is missing in ``directory``, and give the content of its results.json.

    Writes runs.jsonl (a row per finished run), results.json, report.html and runs/RUN_ID/. Started
    again after a stop, it repeats no finished run and carries an unfinished one on from its last
    checkpoint; the results are those of an undisturbed comparison.

    Raises:
        RequestError: something cannot be met as asked, or the folder is not this comparison's.
    """
    store, facts = RunStore(directory), folder_facts(comparison)
    store.refuse_foreign(facts)
    runner = ComparisonRunner(comparison, directory, checkpoint_every_s)
    check_heads(runner.setting)  # what cannot be met is refused before the folder is made
    progress = progress or ComparisonProgress()
    with store.claim(facts):
        rates = _tuned_rates(runner, store, progress)
        rows = _run_missing(plan_runs(comparison, rates), runner, store, progress)
        results = summarise(comparison, rows)
        write_json(directory / RESULTS_FILE, results)
        write_page(directory)
    return results


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
) -> list[Record]:
    """The records of all plans, in the order of the plans."""
    for file in store.repair(*{plan.file for plan in plans}):
        progress.say(f"The last line of {file} was cut off by a stop; that run is repeated.")
    store.run_missing(
        plans,
        runner,
        is_done=lambda plan: plan.run_id in store.by_run(plan.file),
        finish=lambda plan: None,
        listener=progress,
    )
    for plan in plans:  # also those that a kill left behind after their row was written
        store.discard_checkpoint(plan.run_id)
    return [store.by_run(plan.file)[plan.run_id] for plan in plans]


def _tuned_rates(
    runner: ComparisonRunner, store: RunStore, progress: ComparisonProgress
) -> dict[str, float]:
    """The learning rate with the best validation score for each head; the smaller one in a tie.

    Empty without --tune. Every head gets the same grid; no tuning run sees the test set.
    """
    comparison = runner.comparison
    plans = plan_tuning(comparison)
    if not plans:
        return {}
    rows = _run_missing(plans, runner, store, progress)
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

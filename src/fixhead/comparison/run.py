"""The main job: every arm and seed once, then statistics and a page, resumable at any moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..report import write_page
from ..runs import records
from ..runs.layout import RESULTS_FILE, RUN_FOLDERS, RUNS_FILE, TUNING_FILE
from ..runs.records import Record, write_json
from ..training import remove_checkpoint
from .config import Comparison, RunPlan, plan_runs, plan_tuning
from .execute import run
from .folder import claim, refuse_foreign
from .progress import ComparisonProgress
from .results import summarise
from .setting import Setting, prepare


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
    refuse_foreign(directory, comparison)
    setting = prepare(comparison)
    progress = progress or ComparisonProgress()
    with claim(directory, comparison):
        work = _Work(setting, directory, progress, checkpoint_every_s)
        rates = _tune(work)
        rows = work.run_missing(plan_runs(comparison, rates), RUNS_FILE)
        results = summarise(comparison, rows)
        write_json(directory / RESULTS_FILE, results)
        write_page(directory)
    return results


@dataclass(frozen=True)
class _Work:
    """Where runs are done, and how often an unfinished one is saved."""

    setting: Setting
    directory: Path
    progress: ComparisonProgress
    checkpoint_every_s: float

    def run_missing(self, plans: Sequence[RunPlan], file: str) -> list[Record]:
        """The records of all plans, in the order of the plans."""
        path, progress = self.directory / file, self.progress
        if records.repair(path):
            progress.say(f"The last line of {file} was cut off by a stop; that run is repeated.")
        rows = {row["run_id"]: row for row in records.read(path)}
        missing = [plan for plan in plans if plan.run_id not in rows]
        progress.begin(len(plans), len(plans) - len(missing))
        for plan in missing:
            row = run(
                self.setting,
                plan,
                self.directory,
                progress.of_run(plan.run_id),
                checkpoint_every_s=self.checkpoint_every_s,
            )
            records.append(path, row)
            rows[plan.run_id] = row
            progress.finished(row)
        for plan in plans:  # also those that a kill left behind after their row was written
            remove_checkpoint(self.directory / RUN_FOLDERS / plan.run_id)
        return [rows[plan.run_id] for plan in plans]


def _tune(work: _Work) -> dict[str, float]:
    """The learning rate with the best validation score for each head; the smaller one in a tie.

    Empty without --tune. Every head gets the same grid; no tuning run sees the test set.
    """
    comparison = work.setting.comparison
    plans = plan_tuning(comparison)
    if not plans:
        return {}
    rows = work.run_missing(plans, TUNING_FILE)
    best: dict[str, float] = {}
    for head in comparison.heads:
        own = [row for row in rows if row["head"] == head and row["status"] == "done"]
        if own:
            chosen = max(own, key=lambda row: (_score(row), -row["config"]["lr"]))
            best[head] = chosen["config"]["lr"]
    return best


def _score(row: Record) -> float:
    """What chose the epoch: balanced accuracy where the classes are unequal."""
    return float(row[f"val_{row['config']['choose_on']}"])

"""A plan or an outcome, printed for a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..runs.layout import REPORT_PAGE


def show_plan(plan: dict[str, Any]) -> None:
    """What would run, and about how long."""
    console = Console()
    console.print(
        f"{plan['data']}: {plan['training_images']:,} training and {plan['test_images']:,} test "
        f"images in {plan['classes']} classes; {plan['backbone']} with {plan['features']} "
        f"features; {plan['epochs']} epochs on {plan['device']}"
    )
    table = Table("run", "about")
    for run in plan["runs"]:
        table.add_row(run["run_id"], duration(run["seconds"]))
    console.print(table)
    console.print(
        f"{len(plan['runs'])} runs to do, {plan['done']} done already; about "
        f"{duration(plan['seconds'])} in all, on this machine as busy as it is now"
    )


def show_outcome(results: dict[str, Any], directory: Path) -> None:
    """The table of arms, and where the page lies."""
    console = Console()
    metric = results["metric"]
    groups = list(results.get("groups", {}))
    title = f"{metric.replace('_', ' ')} (mean ± std)"
    table = Table("head", "runs", title, *groups, "last epoch")
    for arm in results["arms"]:
        shown = [arm[metric], *(arm["group_accuracy"][name] for name in groups)]
        shown.append(arm["last_epoch_accuracy"])
        table.add_row(arm["head"], str(arm["n"]), *map(_percent, shown))
    console.print(table)
    for note in results["notes"]:
        console.print(f"· {note}", highlight=False)
    console.print(f"The page: {directory / REPORT_PAGE}", highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """``4 s``, ``2 min 5 s``, ``3 h 20 min``."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _percent(spread: dict[str, Any]) -> str:
    if spread["mean"] is None:
        return "–"
    mean = f"{100 * spread['mean']:.2f} %"
    return mean if spread["std"] is None else f"{mean} ± {100 * spread['std']:.2f}"


def show_run(row: dict[str, Any], folder: Path) -> None:
    """One run in a line, and where its model lies."""
    console = Console(highlight=False)
    if row["status"] != "done":
        console.print(row["error"], soft_wrap=True)
        return
    test, held = row["test_accuracy"], row["val_accuracy"]
    console.print(
        f"{row['head']} on {row['data']}, {row['backbone']}, seed {row['seed']}: test accuracy "
        f"{100 * test:.2f} % (epoch {row['best_epoch']} of {row['epochs']}, chosen on validation, "
        f"{100 * held:.2f} %) in {duration(row['train_seconds'])}",
        soft_wrap=True,
    )
    console.print(f"The model: {folder}", soft_wrap=True)

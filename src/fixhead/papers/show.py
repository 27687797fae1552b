"""Items and outcomes, printed for a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def show_items(found: Sequence[dict[str, Any]]) -> None:
    """Everything that ``fixhead paper`` can run."""
    table = Table("paper", "item", "what", "scales")
    for one in found:
        table.add_row(one["paper"], one["item"], one["title"], ", ".join(one["scales"]))
    Console(highlight=False).print(table)


def show_paper(results: dict[str, Any], folder: Path) -> None:
    """The table with verdicts, the claims, and where the page lies."""
    console = Console(highlight=False)
    protocol = ", as published (test-chosen)" if results["as_published"] else ""
    console.print(f"{results['paper']} {results['item']}, {results['scale']} scale{protocol}")
    table = Table("", "", "paper", "here", "n", "verdict")
    for row in results["rows"]:
        table.add_row(row["row"], row["column"], _printed(row), *_ours(row), row["verdict"])
    if results["rows"]:
        console.print(table)
    for claim in results["claims"]:
        console.print(f"· {claim['text']}: {claim['verdict']}", soft_wrap=True)
    done = results["cells"]
    console.print(f"{done['done']} of {done['planned']} cells done")
    console.print(f"The page: {folder / 'report.html'}", soft_wrap=True)


def _printed(row: dict[str, Any]) -> str:
    printed = row["printed"]
    if printed is None:
        return ""
    if printed["value"] is None:
        return printed["note"] or "–"
    mark = " (recalled, unverified)" if printed["source"] == "recalled" else ""
    return _number(printed["value"], row["unit"]) + mark


def _ours(row: dict[str, Any]) -> tuple[str, str]:
    ours = row["ours"]
    if ours["mean"] is None:
        return "–", str(ours["n"])
    text = _number(ours["mean"], row["unit"])
    return text if ours["std"] is None else f"{text} ± {_number(ours['std'], row['unit'])}", str(
        ours["n"]
    )


def _number(value: float, unit: str) -> str:
    return f"{100 * value:.2f} %" if unit == "percent" else f"{value:.3g}"

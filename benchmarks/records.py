"""The records of the benchmarks: what was measured, where, when, and by which commit."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from fixhead.runs import machine

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[1] / "docs"


def write(
    name: str, rows: list[dict[str, Any]], *, device: torch.device | str = "cpu", **facts: Any
) -> Path:
    """Save rows under ``results/`` with date, machine, versions and commit."""
    device = torch.device(device)
    now = datetime.now(UTC)
    record = {
        "benchmark": name,
        "date": now.isoformat(timespec="seconds"),
        "machine": machine.describe_device(device),
        "versions": machine.versions(),
        "commit": machine.commit(),
        **facts,
        "rows": rows,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}_{device.type}_{now:%Y-%m-%d}.json"
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def unfinished(name: str, device: str = "cpu") -> list[dict[str, Any]]:
    """The rows of today's record where it was stopped before it was complete; else none.

    Each says on how many threads it was measured: the rest may be on another number.
    """
    path = RESULTS / f"{name}_{device}_{datetime.now(UTC):%Y-%m-%d}.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if record.get("complete") is not False:
        return []
    return [{"threads": record["threads"], **row} for row in record["rows"]]


def newest(pattern: str) -> dict[str, Any]:
    """The latest record whose file name fits."""
    path = sorted(RESULTS.glob(pattern))[-1]
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record | {"file": path.name}


def rewrite(page: str, mark: str, lines: list[str]) -> None:
    """Put lines between ``<!-- mark -->`` and ``<!-- /mark -->`` of a page in docs/."""
    path = DOCS / page
    before, opened, rest = path.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
    _, closed, after = rest.partition(f"<!-- /{mark} -->")
    if not opened or not closed:
        raise SystemExit(f"docs/{page} needs the marks of {mark}")
    path.write_text(before + opened + "\n".join(lines) + "\n" + closed + after, encoding="utf-8")


def arguments(description: str | None, rounds: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--quick", action="store_true", help="the smallest sizes only, not saved")
    return parser.parse_args()

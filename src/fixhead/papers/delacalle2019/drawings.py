"""The figures' data, from the records of their runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...runs.records import Record
from .readings import test_accuracy, turned_deg
from .recipe import ARMS


def draw_planes(found: Mapping[str, Record]) -> dict[str, Any] | None:
    panels = [
        {
            "title": f"seed {row['seed']}: {100 * row['last_epoch_accuracy']:.1f} % test accuracy, "
            f"{len(row['geometry']['areas']['vanished'])} classes without an area",
            **row["measures"]["embedding"],
            "sectors": row["geometry"]["areas"]["sectors"],
        }
        for row in found.values()
        if "embedding" in row["measures"]
    ]
    return {"panels": panels, "classes": _classes(found)} if panels else None


def draw_paths(found: Mapping[str, Record]) -> dict[str, Any] | None:
    panels = []
    for row in found.values():
        steps = [epoch["collapse"]["vectors"] for epoch in _thinned(row["history"])]
        paths = [
            [[round(step[c][axis], 3) for step in steps] for axis in (0, 1)]
            for c in range(len(steps[0]))
        ]
        title = f"seed {row['seed']}: turned by {turned_deg(row):.0f}° on average"
        panels.append({"title": title, "paths": paths})
    return {"panels": panels, "classes": _classes(found)} if panels else None


def _thinned(history: list[Record]) -> list[Record]:
    """About 25 epochs, the first and the last among them: more than a drawing can show."""
    step = max(1, len(history) // 25)
    return [*history[:-1:step], history[-1]]


def draw_strip(found: Mapping[str, Record]) -> dict[str, Any] | None:
    named = {head: arm for arm, head in ARMS.items()}
    series: dict[str, list[float]] = {}
    for row in found.values():
        series.setdefault(named[row["head"]], []).append(test_accuracy(row))
    shown = [{"name": name, "values": values} for name, values in series.items()]
    return {"series": shown, "x": "test accuracy", "unit": "percent"} if shown else None


def _classes(found: Mapping[str, Record]) -> list[str]:
    return next((row["classes"] for row in found.values()), [])

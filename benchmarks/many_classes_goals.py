"""What heads over very many classes were to reach, and what the newest record says they reach.

``docs/many_classes.py`` puts the table on its page. The record is that of
``benchmarks/many_classes_head.py``; "plain" is F.linear + F.cross_entropy with the same frozen
matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import records

Row = dict[str, Any]


def newest() -> dict[str, Any]:
    """The newest record, with its file's name."""
    return records.newest("scale_head_*.json")


@dataclass(frozen=True)
class Goal:
    """``reached`` gives the figure from the record's rows; at least (or at most) ``must``."""

    what: str
    must: float
    reached: Callable[[list[Row]], float | None]
    unit: str = "×"
    at_least: bool = True

    def line(self, rows: list[Row], disturbed: list[Row]) -> str:
        figure = self.reached(rows)
        sign = "≥" if self.at_least else "≤"
        asked = f"{sign} {self.must:,g} {self.unit}"
        if figure is None:
            apart = self.reached(disturbed)
            if apart is None:
                return f"| {self.what} | {asked} | not measured |"
            share = max(row["others_share"] for row in disturbed)
            text = f"{_figure(apart)} {self.unit}, while others took {share:.0%} of the machine"
            return f"| {self.what} | {asked} | {text} |"
        met = figure >= self.must if self.at_least else figure <= self.must
        return (
            f"| {self.what} | {asked} | {_figure(figure)} {self.unit}{'' if met else ' (missed)'} |"
        )


def _figure(value: float) -> str:
    return (
        f"{value:.2e}"
        if 0 < abs(value) < 1e-3
        else f"{value:,.3g}"
        if value < 1e3
        else f"{value:,.0f}"
    )


def find(table: list[Row], what: str, path: str, **sizes: int) -> Row | None:
    """The row of that work, path and sizes; None where it was not measured."""
    for row in table:
        named = row["what"] == what and row["path"] == path
        if named and all(row.get(name) == size for name, size in sizes.items()):
            return row
    return None


def ratio(what: str, path: str, **sizes: int) -> Callable[[list[Row]], float | None]:
    def reached(rows: list[Row]) -> float | None:
        row = find(rows, what, path, **sizes)
        return None if row is None else row["ratio_to_plain"]

    return reached


def field(name: str, what: str, path: str, **sizes: int) -> Callable[[list[Row]], float | None]:
    def reached(rows: list[Row]) -> float | None:
        row = find(rows, what, path, **sizes)
        return None if row is None or row.get(name) is None else row[name]

    return reached


def quotient(
    name: str, above: tuple[str, str], below: tuple[str, str], **sizes: int
) -> Callable[[list[Row]], float | None]:
    def reached(rows: list[Row]) -> float | None:
        first, second = (field(name, *pair, **sizes)(rows) for pair in (above, below))
        return None if first is None or not second else first / second

    return reached


def mib(bytes_of: Callable[[list[Row]], float | None]) -> Callable[[list[Row]], float | None]:
    def reached(rows: list[Row]) -> float | None:
        size = bytes_of(rows)
        return None if size is None else size / 2**20

    return reached


STEP = {"features": 512, "rows": 256}
MILLION = {"classes": 1_000_000, **STEP}
HUGE = {"classes": 10_000_000, "features": 512, "rows": 64}

GOALS = [
    Goal("code over plain, K = 100,000", 5, ratio("step", "code", classes=100_000, **STEP)),
    Goal("code over plain, K = 1,000,000", 6.5, ratio("step", "code", **MILLION)),
    Goal(
        "code over plain, K = 100,000, d = 1,024",
        7.5,
        ratio("step", "code", classes=100_000, features=1024, rows=256),
    ),
    Goal(
        "plain's peak memory over code's, K = 1,000,000",
        100,
        quotient("peak_bytes", ("step", "plain"), ("step", "code"), **MILLION),
    ),
    Goal(
        "a step of K = 10,000,000, N = 64",
        3_000,
        field("median_ms", "step", "code", **HUGE),
        "ms",
        at_least=False,
    ),
    Goal(
        "its peak memory",
        64,
        mib(field("peak_bytes", "step", "code", **HUGE)),
        "MiB",
        at_least=False,
    ),
    Goal("stored over plain, K = 100,000", 1.3, ratio("step", "stored", classes=100_000, **STEP)),
    Goal("stored over plain, K = 1,000,000", 1.3, ratio("step", "stored", **MILLION)),
    Goal(
        "stored over plain, K = 100,000, d = 1,024",
        1.3,
        ratio("step", "stored", classes=100_000, features=1_024, rows=256),
    ),
    Goal(
        "stored over torch's linear_cross_entropy, K = 100,000",
        8,
        quotient(
            "median_ms",
            ("step", "linear_cross_entropy"),
            ("step", "stored"),
            classes=100_000,
            **STEP,
        ),
    ),
    *(
        Goal(f"stored over plain, K = {K:,}", 0.95, ratio("step", "stored", classes=K, **STEP))
        for K in (100, 1_000, 10_000)
    ),
    *(
        Goal(
            f"largest logit, code over plain, K = 1,000,000, N = {N}",
            must,
            ratio("top-1", "code", classes=1_000_000, features=512, rows=N),
        )
        for N, must in ((1, 15), (256, 2.5))
    ),
    *(
        Goal(
            f"squared error, code over plain, K = {K:,}",
            must,
            ratio("squared error", "code", classes=K, **STEP),
        )
        for K, must in ((100_000, 500), (1_000_000, 5_000))
    ),
    Goal(
        "error of the gradient against float64 over plain's, K = 1,000,000",
        1,
        quotient(
            "gradient_error",
            ("against float64", "code"),
            ("against float64", "plain"),
            classes=1_000_000,
        ),
        at_least=False,
    ),
    Goal(
        "first call, over a second",
        100,
        field("median_ms", "starting", "first call"),
        "ms",
        at_least=False,
    ),
    Goal(
        "import, over torch's own",
        200,
        field("median_ms", "starting", "import fixhead after it"),
        "ms",
        at_least=False,
    ),
]


def lines() -> list[str]:
    """The table, and where it comes from."""
    record = newest()
    table = ["| figure | goal | reached |", "|---|---|---|"]
    table += [goal.line(record["rows"], record.get("disturbed", [])) for goal in GOALS]
    source = (
        f"From [{record['file']}](../benchmarks/results/{record['file']}): "
        f"{record['machine']}, torch {record['versions']['torch']}; medians of 7 rounds in turn."
    )
    return [*table, "", source, *_fastest(record.get("disturbed", []))]


def _fastest(disturbed: list[Row]) -> list[str]:
    """What the fastest rounds of a disturbed step say, which its medians hide."""
    code, plain = (find(disturbed, "step", path, **MILLION) for path in ("code", "plain"))
    if code is None or plain is None:
        return []
    return [
        f"Where others took part of the machine, the code's many small operations on two threads "
        f"suffered most: at K = 1,000,000 its rounds took {code['min_ms']:,.0f} … "
        f"{code['max_ms']:,.0f} ms, plain's {plain['min_ms']:,.0f} … {plain['max_ms']:,.0f} ms; "
        f"the fastest of each are {plain['min_ms'] / code['min_ms']:.1f} times apart."
    ]

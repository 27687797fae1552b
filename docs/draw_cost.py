"""Draw a head's training step against the number of classes: docs/pictures/cost_of_classes.svg.

Every point is a row of the newest record of benchmarks/many_classes_head.py (N = 256, d = 512), or,
for a path that is not in it, of one of ``FURTHER``.

Run from the repository's root: python docs/draw_cost.py
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "benchmarks" / "results"
PICTURE = ROOT / "docs" / "pictures" / "cost_of_classes.svg"

LINES = {
    "plain": ("stored matrix, logits held", "#b4551d"),
    "linear_cross_entropy": ("torch linear_cross_entropy", "#8a8f98"),
    "partial-fc": ("stored, 10 % sampled", "#7a6a9e"),
    "stored": ("stored matrix, by classes", "#3f8f6b"),
    "code": ("implicit code", "#2563a8"),
    "native": ("implicit code, compiled", "#7db4f0"),
}
"""Of each path its name in the picture and its colour, from dear to cheap."""

NEWEST = "scale_head_*.json"
FURTHER = ("scale_native_*.json",)
"""The record of most paths, and those of further ones."""

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 20, 48
STYLE = """
  .grid { stroke: #8a8f98; stroke-width: 0.5; opacity: 0.4 }
  path { fill: none; stroke-width: 2 }
  text { font: 12px system-ui, sans-serif; fill: #3a3f47 }
  @media (prefers-color-scheme: dark) { text { fill: #c9ced6 } }
"""


def points() -> dict[str, list[tuple[int, float]]]:
    """Of every path its (K, median milliseconds), by K."""
    by_path: dict[str, list[tuple[int, float]]] = {}
    for pattern in (NEWEST, *FURTHER):
        for path in sorted(RECORDS.glob(pattern))[-1:]:
            by_path = _of(json.loads(path.read_text(encoding="utf-8"))) | by_path
    return {path: sorted(by_path[path]) for path in LINES if path in by_path}


def _of(record: dict[str, Any]) -> dict[str, list[tuple[int, float]]]:
    by_path: dict[str, list[tuple[int, float]]] = {}
    for row in record["rows"]:
        if row.get("what") == "step" and (row["features"], row["rows"]) == (512, 256):
            by_path.setdefault(row["path"], []).append((row["classes"], row["median_ms"]))
    return by_path


def picture(lines: dict[str, list[tuple[int, float]]]) -> str:
    """The SVG: both axes logarithmic."""
    every = [point for line in lines.values() for point in line]
    low = math.floor(math.log10(min(ms for _, ms in every)))
    high = math.ceil(math.log10(max(ms for _, ms in every)))
    first, last = (math.log10(end(k for k, _ in every)) for end in (min, max))

    def place(classes: float, ms: float) -> tuple[float, float]:
        across = (math.log10(classes) - first) / (last - first)
        up = (math.log10(ms) - low) / (high - low)
        x = LEFT + across * (WIDTH - LEFT - RIGHT)
        return round(x, 1), round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1)

    shapes = []
    for power in range(low, high + 1):
        x, y = place(10**first, 10.0**power)
        shapes.append(f'<line class="grid" x1="{x}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}"/>')
        shapes.append(_text(x - 8, y + 4, _time(10.0**power), "end"))
    for power in range(math.ceil(first), math.floor(last) + 1):
        x, y = place(10.0**power, 10.0**low)
        shapes.append(f'<line class="grid" x1="{x}" y1="{TOP}" x2="{x}" y2="{y}"/>')
        shapes.append(_text(x, y + 18, f"{10**power:,}", "middle"))
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    shapes.append(_text(middle, HEIGHT - 8, "classes K", "middle"))
    routes = {path: [place(*point) for point in line] for path, line in lines.items()}
    edge = max(places[-1][0] for places in routes.values())
    lowest = float("-inf")
    for path, places in sorted(routes.items(), key=lambda item: item[1][-1][1]):
        name, colour = LINES[path]
        route = " L ".join(f"{x} {y}" for x, y in places)
        shapes.append(f'<path stroke="{colour}" d="M {route}"/>')
        shapes += [f'<circle fill="{colour}" cx="{x}" cy="{y}" r="3"/>' for x, y in places]
        x, y = places[-1]
        if x < edge:
            shapes.append(_text(x - 8, y, name, "end", colour))
            continue
        lowest = max(y, lowest + 15)
        shapes.append(_text(x + 8, round(lowest + 4, 1), name, "start", colour))
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Time of a training step of the head against the number of classes">\n'
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def _text(x: float, y: float, text: str, anchor: str, colour: str | None = None) -> str:
    style = "" if colour is None else f' style="fill: {colour}"'
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{style}>{text}</text>'


def _time(ms: float) -> str:
    return f"{ms / 1000:g} s" if ms >= 1000 else f"{ms:g} ms"


def drawn() -> str:
    """The picture of the newest record."""
    return picture(points())


def main() -> None:
    PICTURE.write_text(drawn(), encoding="utf-8")
    print(PICTURE)


if __name__ == "__main__":
    main()

"""Draw a head's training step against the number of classes: docs/pictures/cost_of_classes.svg.

Every point is a row of the newest benchmarks/results/scale_head_….json (N = 256, d = 512). A path
that a later record has becomes a line as soon as it is named in ``LINES``.

Run from the repository's root: python docs/draw_cost.py
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import scale_goals

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "pictures" / "cost_of_classes.svg"

LINES = {
    "plain": ("stored matrix, logits held", "#b4551d"),
    "linear_cross_entropy": ("torch linear_cross_entropy", "#8a8f98"),
    "partial-fc": ("stored, 10 % sampled", "#7a6a9e"),
    "stored": ("stored matrix, by classes", "#3f8f6b"),
    "code": ("implicit code", "#2563a8"),
    "code-native": ("implicit code, compiled", "#12355e"),
}
"""Of each path its name in the picture and its colour, from dear to cheap."""

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 20, 48
STYLE = """
  .grid { stroke: #8a8f98; stroke-width: 0.5; opacity: 0.4 }
  path { fill: none; stroke-width: 2 }
  text { font: 12px system-ui, sans-serif; fill: #3a3f47 }
  @media (prefers-color-scheme: dark) { text { fill: #c9ced6 } }
"""


def points(record: dict[str, Any]) -> dict[str, list[tuple[int, float]]]:
    """Of every path its (K, median milliseconds), by K."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in record["rows"]:
        if row["what"] == "step" and (row["features"], row["rows"]) == (512, 256):
            found.setdefault(row["path"], []).append((row["classes"], row["median_ms"]))
    return {path: sorted(found[path]) for path in LINES if path in found}


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
    taken: list[float] = []
    for path, line in lines.items():
        name, colour = LINES[path]
        places = [place(*point) for point in line]
        route = " L ".join(f"{x} {y}" for x, y in places)
        shapes.append(f'<path stroke="{colour}" d="M {route}"/>')
        shapes += [f'<circle fill="{colour}" cx="{x}" cy="{y}" r="3"/>' for x, y in places]
        x, y = places[-1]
        while any(abs(y - other) < 14 for other in taken):
            y += 2
        taken.append(y)
        shapes.append(_text(x + 8, round(y + 4, 1), name, "start"))
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Time of a training step of the head against the number of classes">\n'
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>'


def _time(ms: float) -> str:
    return f"{ms / 1000:g} s" if ms >= 1000 else f"{ms:g} ms"


def drawn() -> str:
    """The picture of the newest record."""
    return picture(points(scale_goals.newest()))


def main() -> None:
    PICTURE.write_text(drawn(), encoding="utf-8")
    print(PICTURE)


if __name__ == "__main__":
    main()

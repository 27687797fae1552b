"""The drawings of a paper's page: results.json's figures → SVG, by kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .html import Html, element, join, paragraph
from .numbers import percent
from .records import Record
from .svg import (
    Frame,
    axes,
    dot,
    drawing,
    hue,
    line,
    mixed,
    polygon,
    polyline,
    rect,
    text,
    ticks,
)

ARM_COLOURS = 12


def render_figure(figure: Record) -> Html:
    """A figure with what was measured here and what the paper printed."""
    return element(
        "figure",
        element(
            "figcaption",
            element("h3", figure["title"]),
            paragraph(figure["measured"]),
            paragraph(element("strong", "In the paper: "), figure["printed"]),
        ),
        KINDS[figure["kind"]](figure["data"], figure["title"]),
        class_="figure",
    )


def bars(data: Record, title: str) -> Html:
    """Counts per class, a bar per series; log scale, so that the tail can be seen."""
    names, series = data["names"], data["series"]
    most = max(max(one["values"]) for one in series)
    high = math.ceil(math.log10(max(most, 10)))
    frame = Frame((0, len(names)), (0, high), width=640, height=260)
    wide = 0.8 / len(series)
    parts = []
    for place, one in enumerate(series):
        for at, value in enumerate(one["values"]):
            x, y = frame.at(at + 0.1 + place * wide, math.log10(max(value, 1)))
            x2, bottom = frame.at(at + 0.1 + (place + 1) * wide, 0)
            shown = f"{names[at]}, {one['name']}: {value}"
            parts.append(rect(x, y, x2 - x, max(bottom - y, 0.5), _arm(place), shown))
            parts.append(text((x + x2) / 2, y - 3, str(value), "middle"))
    for at, name in enumerate(names):
        x, y = frame.at(at + 0.5, 0)
        parts.append(text(x, y + 15, str(name)[:10], "middle"))
    drawn = drawing(frame, *parts, label=title)
    return join(
        [_legend([one["name"] for one in series]), drawn, _small(f"{data['y']}, log scale")]
    )


def strip(data: Record, title: str) -> Html:
    """A dot per run and a line at the mean, a row per arm."""
    series = data["series"]
    values = [value for one in series for value in one["values"]]
    room = 0.06 * (max(values) - min(values)) or 0.01
    frame = Frame(
        (min(values) - room, max(values) + room), (0, len(series)),
        width=640, height=46 + 34 * len(series), left=150,
    )  # fmt: skip
    parts = [_x_axis(frame, data)]
    for place, one in enumerate(series):
        level = len(series) - place - 0.5
        for value in one["values"]:
            parts.append(dot(*frame.at(value, level), _arm(place), 4.5, 0.6))
        x, y = frame.at(sum(one["values"]) / len(one["values"]), level)
        parts.append(line(x, y - 10, x, y + 10, "mean", _arm(place)))
        parts.append(text(frame.left - 10, y + 4, one["name"], "end"))
    return drawing(frame, *parts, label=title)


def plane(data: Record, title: str) -> Html:
    """Points and class vectors of two dimensions, and the ring of what each class owns."""
    return _panels([_plane(panel, data["classes"], title) for panel in data["panels"]], data)


def _plane(panel: Record, classes: Sequence[str], title: str) -> Html:
    size = len(classes)
    reach = _reach(panel["points"])
    frame = _square(1.35 * reach)
    parts = []
    for sector in panel.get("sectors") or ():
        share = (sector["stop"] - sector["start"]) / (2 * math.pi)
        words = f"{classes[sector['label']]}: {percent(share, 1)} of the circle"
        ring = [frame.at(*point) for point in _ring(sector, 1.18 * reach, 1.3 * reach)]
        parts.append(polygon(ring, hue(sector["label"], size), words))
    for (x, y), label in zip(panel["points"], panel["labels"], strict=True):
        if max(abs(x), abs(y)) <= 1.15 * reach:
            parts.append(dot(*frame.at(x, y), hue(label, size), 1.8, 0.65))
    parts += _vectors(frame, panel["vectors"], classes, 0.95 * reach)
    return _panel(panel["title"], drawing(frame, *parts, label=f"{title}, {panel['title']}"))


def paths(data: Record, title: str) -> Html:
    """A line per class vector, from the first epoch to the last, where its name stands."""
    return _panels([_path(panel, data["classes"], title) for panel in data["panels"]], data)


def _path(panel: Record, classes: Sequence[str], title: str) -> Html:
    size = len(classes)
    steps = [list(zip(*path, strict=True)) for path in panel["paths"]]
    reach = max(math.hypot(x, y) for path in steps for x, y in path) or 1.0
    frame = _square(1.2 * reach)
    parts = []
    for place, path in enumerate(steps):
        points = [frame.at(x, y) for x, y in path]
        parts.append(line(*frame.at(0, 0), *points[-1], "axis"))
        parts.append(polyline(points, hue(place, size)))
        parts.append(dot(*points[0], hue(place, size), 2.0, 0.5))
        parts.append(dot(*points[-1], hue(place, size), 3.5, 1.0))
        parts.append(text(points[-1][0], points[-1][1] - 6, str(classes[place])[:10], "middle"))
    parts.append(dot(*frame.at(0, 0), "var(--soft)", 2, 1))
    return _panel(panel["title"], drawing(frame, *parts, label=f"{title}, {panel['title']}"))


def matrix(data: Record, title: str) -> Html:
    """Cosines between class vectors, −1 … 1, one panel per model."""
    names = data["classes"]
    return element(
        "div",
        *(_panel(panel["title"], _matrix(panel, names, title)) for panel in data["panels"]),
        class_="panels",
    )


def _matrix(panel: Record, names: Sequence[str], title: str) -> Html:
    values = panel["values"]
    size = len(values)
    frame = Frame((0, size), (0, size), width=300, height=234, left=70, right=4, top=4, bottom=4)
    side = 226 / size
    parts = []
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            words = f"{names[i]}, {names[j]}: {value:.2f}"
            parts.append(rect(70 + j * side, 4 + i * side, side, side, mixed(value), words))
        if size <= 20:
            parts.append(text(64, 4 + (i + 0.6) * side, str(names[i])[:11], "end"))
    return drawing(frame, *parts, label=f"{title}, {panel['title']}")


def points(data: Record, title: str) -> Html:
    """y against x, a colour per series."""
    xs = [x for one in data["series"] for x in one["x"]]
    ys = [y for one in data["series"] for y in one["y"]]
    if not xs:
        return paragraph("No point to draw.", class_="missing")
    frame = Frame(_padded(xs), _padded(ys), width=520, height=320)
    parts = [axes(frame, data["x"], data["y"])]
    for place, one in enumerate(data["series"]):
        for x, y in zip(one["x"], one["y"], strict=True):
            parts.append(dot(*frame.at(x, y), _arm(place), 2.6, 0.55))
    names = [one["name"] for one in data["series"]]
    return join([_legend(names), drawing(frame, *parts, label=title)])


def curves(data: Record, title: str) -> Html:
    """y over x, a line per series."""
    xs = [x for one in data["series"] for x in one["x"]]
    ys = [y for one in data["series"] for y in one["y"]]
    if not xs:
        return paragraph("No line to draw.", class_="missing")
    frame = Frame((min(xs), max(xs)), _padded(ys), width=560, height=320)
    parts = [axes(frame, data["x"], data["y"])]
    names = list(dict.fromkeys(one["name"] for one in data["series"]))
    for one in data["series"]:
        line_ = [frame.at(x, y) for x, y in zip(one["x"], one["y"], strict=True)]
        parts.append(polyline(line_, _arm(names.index(one["name"]))))
    return join([_legend(names), drawing(frame, *parts, label=title)])


KINDS: dict[str, Callable[[Any, str], Html]] = {
    "bars": bars,
    "strip": strip,
    "plane": plane,
    "paths": paths,
    "matrix": matrix,
    "points": points,
    "curves": curves,
}


def _panels(panels: Sequence[Html], data: Record) -> Html:
    names = data["classes"]
    keys = [_key(str(name), hue(place, len(names))) for place, name in enumerate(names)]
    legend = element("p", *keys, class_="keys") if len(names) <= 20 else None
    return join([legend, element("div", *panels, class_="panels")])


def _panel(title: str, drawn: Html) -> Html:
    return element("div", drawn, paragraph(title, class_="small"), class_="panel")


def _legend(names: Sequence[str]) -> Html | None:
    if len(names) < 2:
        return None
    return element("p", *(_key(name, _arm(at)) for at, name in enumerate(names)), class_="keys")


def _key(name: str, colour: str) -> Html:
    mark = element("i", style=f"background:{colour}", aria_hidden="true")
    return element("span", mark, name)


def _small(words: str) -> Html:
    return paragraph(words, class_="small")


def _arm(place: int) -> str:
    return f"var(--arm-{place % ARM_COLOURS})"


def _x_axis(frame: Frame, data: Record) -> Html:
    scale = 100 if data.get("unit") == "percent" else 1
    words = f"{data['x']}, %" if scale == 100 else data["x"]
    shown = Frame(
        (scale * frame.x[0], scale * frame.x[1]), frame.y, frame.width, frame.height,
        frame.left, frame.right, frame.top, frame.bottom,
    )  # fmt: skip
    left, bottom = frame.at(frame.x[0], 0)
    right, _ = frame.at(frame.x[1], 0)
    parts = [line(left, bottom, right, bottom, "axis")]
    for value in ticks(*shown.x):
        x, y = shown.at(value, 0)
        parts += [line(x, y, x, y + 4, "axis"), text(x, y + 15, f"{value:g}", "middle")]
    parts.append(text((left + right) / 2, frame.height - 4, words, "middle"))
    return join(parts)


def _square(reach: float) -> Frame:
    side = (-reach, reach)
    return Frame(side, side, width=300, height=300, left=2, right=2, top=2, bottom=2)


def _reach(points_: Sequence[Sequence[float]]) -> float:
    """The length that 98 % of the points stay within."""
    lengths = sorted(math.hypot(x, y) for x, y in points_)
    return lengths[int(0.98 * (len(lengths) - 1))] or 1.0


def _ring(sector: Record, inner: float, outer: float) -> list[tuple[float, float]]:
    start, stop = sector["start"], sector["stop"]
    steps = max(2, math.ceil((stop - start) / 0.08))
    angles = [start + (stop - start) * at / steps for at in range(steps + 1)]
    out = [(outer * math.cos(a), outer * math.sin(a)) for a in angles]
    return out + [(inner * math.cos(a), inner * math.sin(a)) for a in reversed(angles)]


def _vectors(
    frame: Frame, vectors: Sequence[Sequence[float]], classes: Sequence[str], reach: float
) -> list[Html]:
    """Class vectors, the longest drawn as long as ``reach``."""
    longest = max(math.hypot(*w) for w in vectors) or 1.0
    origin = frame.at(0, 0)
    parts = []
    for place, (x, y) in enumerate(vectors):
        tip = frame.at(reach * x / longest, reach * y / longest)
        parts.append(line(*origin, *tip, "vector", hue(place, len(classes))))
        parts.append(text(tip[0], tip[1] - 3, str(classes[place])[:10], "middle"))
    return parts


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.5
    return low - room, high + room

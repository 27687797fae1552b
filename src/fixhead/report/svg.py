"""Drawings as SVG inside the page, from plain numbers: no script, so a page stays small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .html import Html, element, join


@dataclass(frozen=True)
class Frame:
    """Data coordinates → a box of ``width`` × ``height`` px inside margins (left, top, …)."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = 320
    height: float = 320
    left: float = 44
    right: float = 12
    top: float = 8
    bottom: float = 34

    def at(self, x: float, y: float) -> tuple[float, float]:
        inner_w = self.width - self.left - self.right
        inner_h = self.height - self.top - self.bottom
        u = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        v = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        return round(self.left + u * inner_w, 2), round(self.top + (1 - v) * inner_h, 2)


def drawing(frame: Frame, *children: Html | None, label: str) -> Html:
    """The svg element; ``label`` says in words what is drawn."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {frame.width:g} {frame.height:g}",
        role="img",
        aria_label=label,
        class_="drawn",
        style=f"max-width:{frame.width:g}px",
    )


def axes(frame: Frame, x_title: str, y_title: str, *, digits: int = 2) -> Html:
    """Two axes with about five marks each."""
    parts: list[Html] = []
    for value in ticks(*frame.x):
        x, y = frame.at(value, frame.y[0])
        parts.append(line(x, y, x, y + 4, "axis"))
        parts.append(text(x, y + 15, _tick(value, digits), "middle"))
    for value in ticks(*frame.y):
        x, y = frame.at(frame.x[0], value)
        parts.append(line(x - 4, y, x, y, "axis"))
        parts.append(text(x - 7, y + 3.5, _tick(value, digits), "end"))
    left, bottom = frame.at(frame.x[0], frame.y[0])
    right, top = frame.at(frame.x[1], frame.y[1])
    parts += [line(left, bottom, right, bottom, "axis"), line(left, bottom, left, top, "axis")]
    parts.append(text((left + right) / 2, frame.height - 4, x_title, "middle"))
    if y_title:
        parts.append(text(left + 4, top + 8, y_title, "start"))
    return join(parts)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, at most ``most`` steps apart."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * unit for unit in (1, 2, 5, 10) if power * unit >= raw)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(place * step, 10) for place in range(first, last + 1)]


def line(x1: float, y1: float, x2: float, y2: float, kind: str, colour: str | None = None) -> Html:
    style = None if colour is None else f"stroke:{colour}"
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind, style=style)


def polyline(points: Sequence[tuple[float, float]], colour: str) -> Html:
    shown = " ".join(f"{x:g},{y:g}" for x, y in points)
    return element("polyline", points=shown, class_="path", style=f"stroke:{colour}")


def polygon(points: Sequence[tuple[float, float]], colour: str, title: str) -> Html:
    shown = " ".join(f"{x:g},{y:g}" for x, y in points)
    return element("polygon", element("title", title), points=shown, style=f"fill:{colour}")


def dot(x: float, y: float, colour: str, radius: float = 2.2, opacity: float = 0.7) -> Html:
    return element("circle", cx=x, cy=y, r=radius, style=f"fill:{colour};opacity:{opacity:g}")


def rect(x: float, y: float, width: float, height: float, colour: str, title: str) -> Html:
    return element(
        "rect",
        element("title", title),
        x=round(x, 2),
        y=round(y, 2),
        width=round(width, 2),
        height=round(height, 2),
        style=f"fill:{colour}",
    )


def text(x: float, y: float, words: str, anchor: str) -> Html:
    return element("text", words, x=round(x, 2), y=round(y, 2), text_anchor=anchor)


def hue(place: int, size: int) -> str:
    """A colour per class, evenly apart; names stand beside, so no colour is needed to tell."""
    return f"hsl({round(360 * place / max(size, 1))} 55% 50%)"


def mixed(share: float) -> str:
    """From the page's low colour over its middle to its high one, for −1 … 1."""
    share = max(-1.0, min(1.0, share))
    end = "high" if share >= 0 else "low"
    return f"color-mix(in srgb, var(--{end}) {round(100 * abs(share))}%, var(--middle))"


def _tick(value: float, digits: int) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.{digits}f}".rstrip("0").rstrip(".").replace("-", "\u2212") or "0"

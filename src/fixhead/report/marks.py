"""Small drawings inside table cells: placed in per cent by CSS, so they fit any width and theme.

The same numbers stand in the cells beside them, so these are hidden from screen readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .html import Html, element
from .naming import Head
from .theme import ARMS_LIGHT, swatch


@dataclass(frozen=True)
class Axis:
    """Values from ``low`` to ``high`` on 0 … 100 %."""

    low: float
    high: float

    def place(self, value: float) -> float:
        if self.high <= self.low:
            return 50.0
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 2)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


def arm_name(index: int, head: Head, *, describe: bool = False) -> Html:
    """Mark and name of an arm; the line below says what the name means."""
    name = element("span", swatch(index), element("span", head.name, class_="head"), class_="arm")
    if not describe or not head.description:
        return name
    return element(
        "span", name, element("span", head.description, class_="means"), class_="arm-block"
    )


def strip(index: int, values: Sequence[float], average: float | None, axis: Axis) -> Html:
    """A dot for every seed and a tick at their mean."""
    dots = [_spot("i", "dot", axis.place(value)) for value in values]
    tick = None if average is None else _spot("b", "tick", axis.place(average))
    return element("span", *dots, tick, class_="strip", style=_colour(index), aria_hidden="true")


def forest(middle: float, ends: Sequence[float] | None, axis: Axis, *, full: bool) -> Html:
    """A difference and its interval; cut ends carry an arrow.

    The axis is symmetric, so that the cell's own line in its middle is zero.
    """
    bar = None
    if ends is not None:
        low, high = (axis.place(end) for end in ends)
        cut = [
            side for side, end in zip(("left", "right"), ends, strict=True) if not axis.holds(end)
        ]
        style = f"left:{low}%;width:{round(high - low, 2)}%"
        bar = element("i", class_=" ".join(["bar", *(f"cut-{side}" for side in cut)]), style=style)
    kind = "point full" if full else "point"
    return element(
        "span",
        bar,
        _spot("b", kind, axis.place(middle)),
        class_="forest",
        aria_hidden="true",
    )


def scale(labels: Sequence[str]) -> Html:
    """What an axis' ends (and middle) mean, under a column's title."""
    return element("span", *(element("span", label) for label in labels), class_="scale")


def _spot(tag: str, kind: str, place: float) -> Html:
    return element(tag, class_=kind, style=f"left:{place}%")


def _colour(index: int) -> str:
    return f"color:var(--arm-{index % len(ARMS_LIGHT)})"

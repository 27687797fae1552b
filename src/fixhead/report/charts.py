"""A chart of a page: its data once, its words, and the place where the script draws it.

Every chart is drawn by Plotly in the reader's browser, from the data that the page holds as JSON;
``kind`` names the routine under ``assets/`` that turns data into a drawing and into a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from .arm_names import ArmWords
from .cell_charts import swatch
from .render import fill


@dataclass(frozen=True)
class Choice:
    """A choice that redraws the chart; ``options`` are (value, words), the first is chosen."""

    name: str
    title: str
    options: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Slider:
    """A choice among steps in their order; ``labels`` are their words, the last is chosen."""

    name: str
    title: str
    labels: Sequence[str]


@dataclass(frozen=True)
class Chart:
    """``kind`` names the drawing routine; ``summary`` says in words what the drawing shows.

    ``explanation`` is a paragraph, or several; ``height`` is in px, and 0 makes the drawing square;
    with ``legend`` every arm has a button that hides it.
    """

    name: str
    kind: str
    title: str
    explanation: str | Sequence[Markup]
    summary: str
    data: dict[str, Any]
    height: int = 380
    controls: Sequence[Choice | Slider] = ()
    legend: bool = False

    @property
    def paragraphs(self) -> Sequence[str]:
        return [self.explanation] if isinstance(self.explanation, str) else self.explanation


def render_chart(chart: Chart, arms: Sequence[ArmWords] = ()) -> Markup:
    """The chart with its caption, choices, drawing, downloads and table."""
    marked = [(swatch(place), arm.name) for place, arm in enumerate(arms)]
    return fill("chart", "chart", chart, marked)


def side_by_side(charts: Sequence[Chart]) -> Markup:
    """Charts beside one another where there is room."""
    return fill("parts", "pair", [render_chart(chart) for chart in charts])


def payload(charts: Sequence[Chart]) -> dict[str, Any]:
    """What the script needs to draw them, by name."""
    return {
        chart.name: {"kind": chart.kind, "title": chart.title, **chart.data} for chart in charts
    }

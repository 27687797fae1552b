"""The charts of a paper's page: the figures of its results.json."""

from __future__ import annotations

from .charts import Chart
from .records import Record
from .render import fill

_KINDS = {
    "bars": "bars",
    "strip": "dots",
    "plane": "planes",
    "paths": "paths",
    "matrix": "matrices",
    "points": "points",
    "curves": "lines",
}
"""Kinds of figures that results.json may hold, and the routines that draw them."""

FIGURE_KINDS = frozenset(_KINDS)


def figure_chart(place: int, figure: Record) -> Chart:
    """A figure with what was measured here and what the paper printed."""
    data = figure["data"]
    shown = [
        str(part.get("title", part.get("name"))) for part in data.get("panels", data.get("series"))
    ]
    return Chart(
        name=f"figure-{place}",
        kind=_KINDS[figure["kind"]],
        title=figure["title"],
        explanation=[figure["measured"], fill("paper", "printed", figure["printed"])],
        summary=f"{figure['title']}. {figure['measured']} Shown: {'; '.join(shown)}.",
        data=data,
        height=_height(figure["kind"], data),
    )


def _height(kind: str, data: Record) -> int:
    """In px, before the script knows how wide the page is."""
    return 60 + 34 * len(data["series"]) if kind == "strip" else 340

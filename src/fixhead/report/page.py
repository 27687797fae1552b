"""A page: one HTML file that needs no network, no fonts and no other file; its sections and charts.

Every chart is drawn by Plotly in the reader's browser, from the data that the page holds as JSON;
``kind`` names the routine under ``assets/`` that turns data into a drawing and into a table.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from markupsafe import Markup

from .._errors import MissingExtraError
from .._files import replace_file
from .records import ArmWords
from .render import asset, dash, document, fill, plot_colours, stylesheet, symbol
from .tables import swatch


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
    marked = [(swatch(place), arm.shown) for place, arm in enumerate(arms)]
    return fill("chart", "chart", chart, marked)


def side_by_side(charts: Sequence[Chart]) -> Markup:
    """Charts beside one another where there is room."""
    return fill("parts", "pair", [render_chart(chart) for chart in charts])


def payload(charts: Sequence[Chart]) -> dict[str, Any]:
    """What the script needs to draw them, by name."""
    return {
        chart.name: {"kind": chart.kind, "title": chart.title, **chart.data} for chart in charts
    }


_SCRIPTS = ("drawing.js", "curves.js", "vectors.js", "plane.js", "papers.js", "data.js", "page.js")
_PLACE = "plotly"
"""Where Plotly's script goes."""


@dataclass(frozen=True)
class Section:
    """A part of a page under a heading; ``name`` is its anchor, ``charts`` those of its body."""

    name: str
    title: str
    body: Markup
    charts: Sequence[Chart] = ()


@dataclass(frozen=True)
class Page:
    """All that a page says.

    ``opening`` is the section before the contents, ``made`` the words at the end; ``heads`` and
    ``classes`` are the names that the charts' data refer to by their place.
    """

    title: str
    subtitle: str
    description: str
    opening: Markup
    sections: Sequence[Section]
    made: str
    heads: Sequence[str] = ()
    classes: Sequence[str] = ()


def write(path: Path, page: Page) -> Path:
    """Put a page in its place; the old one stays until the new one is whole.

    Raises:
        MissingExtraError: plotly, whose script pages with charts carry, is not installed.
    """
    content = build(page)
    replace_file(path, lambda draft: draft.write_bytes(content))
    return path


def build(page: Page) -> bytes:
    """The whole page. Plotly's script, most of its weight, is put in as it lies on disk."""
    charts = [chart for section in page.sections for chart in section.charts]
    names = _SCRIPTS if charts else _SCRIPTS[-1:]
    early, own = asset("theme.js"), [asset(name) for name in names]
    plotly = _plotly() if charts else b""
    html = document(
        "page",
        page=page,
        charts=charts,
        policy=_policy([plotly, *(script.encode() for script in (early, *own))]),
        style=Markup(stylesheet() + asset("page.css")),
        early=Markup(early),
        data=_data(page, charts),
        scripts=map(Markup, [_PLACE, *own]),
    )
    # Nothing from a record can be this element: its "<" would be escaped.
    before, after = html.split(f"<script>{_PLACE}</script>")
    return b"".join([before.encode(), b"<script>", plotly, b"</script>", after.encode()])


def tabs(label: str, names: Sequence[Markup], panels: Sequence[str], *, group: str = "") -> Markup:
    """A button for every panel; ``group`` keeps the ids of several tab rows apart."""
    return fill("parts", "tabs", label, names, panels, group)


def paragraph(words: str, kind: str | None = None) -> Markup:
    """One paragraph of the class ``kind``."""
    return fill("parts", "paragraph", words, kind)


def present(sections: Sequence[Section | None]) -> list[Section]:
    """Those sections that the records had something for."""
    return [section for section in sections if section is not None]


def _plotly() -> bytes:
    """Plotly's script as its Python package carries it; that package itself is not imported."""
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            'plotly is needed here and is not installed; try: pip install "fixhead[lab]"'
        )
    return (Path(spec.origin).parent / "package_data" / "plotly.min.js").read_bytes()


def _data(page: Page, charts: Sequence[Chart]) -> Markup:
    """The charts' data as JSON that cannot end its own script element."""
    content: dict[str, Any] = {
        "theme": plot_colours(),
        "arms": [
            {"name": name, "symbol": symbol(place), "dash": dash(place)}
            for place, name in enumerate(page.heads)
        ],
        "classes": list(page.classes),
        "figures": payload(charts),
    }
    text = json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def _policy(scripts: Sequence[bytes]) -> str:
    """Only these very scripts may run, and nothing may be fetched from anywhere."""
    digests = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )

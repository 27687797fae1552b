"""The frame of every page: one HTML file that needs no network, no fonts and no other file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from .._errors import require
from .._files import replace_text
from .figure import Figure, payload
from .html import Html, element, join
from .section import Section
from .theme import dash, plot_colours, stylesheet, symbol

_SCRIPTS = ("figures.js", "collapse.js", "plane.js", "evaluation.js", "data.js", "page.js")


@dataclass(frozen=True)
class Frame:
    """All that a page says.

    ``opening`` is the section before the contents, ``made`` the words at the end; ``heads`` and
    ``classes`` are the names that the figures' data refer to by their place.
    """

    title: str
    subtitle: str
    description: str
    opening: Html
    sections: Sequence[Section]
    heads: Sequence[str]
    classes: Sequence[str]
    made: str

    @property
    def figures(self) -> list[Figure]:
        return [figure for part in self.sections for figure in part.figures]


def build(frame: Frame) -> str:
    """The whole page as text.

    Raises:
        RequestError: plotly, whose script the page carries, is not installed.
    """
    plotly = require("plotly.offline", extra="lab").get_plotlyjs()
    early = asset("theme.js")
    scripts = [plotly if frame.figures else "", *map(asset, _SCRIPTS)]
    return Template(asset("page.html")).substitute(
        title=element("title", f"{frame.title} – fixhead"),
        description=element("meta", name="description", content=frame.description),
        policy=_policy([early, *scripts]),
        style=f"<style>\n{stylesheet()}{asset('page.css')}</style>",
        early=_script(early),
        expected=len(frame.figures),
        heading=element("h1", frame.title),
        subtitle=element("p", frame.subtitle, class_="subtitle"),
        contents=_contents(frame.sections),
        result=frame.opening,
        sections=join(_section(part) for part in frame.sections),
        made=element("p", frame.made),
        data=_data(frame),
        scripts="\n".join(map(_script, scripts)),
    )


def write(path: Path, html: str) -> Path:
    """Put a page in its place; the old one stays until the new one is whole."""
    replace_text(path, html)
    return path


def _section(part: Section) -> Html:
    heading = element("h2", part.title, id=f"{part.name}-title")
    return element(
        "section", heading, part.body, id=part.name, aria_labelledby=f"{part.name}-title"
    )


def _contents(parts: Sequence[Section]) -> Html:
    links = [element("li", element("a", part.title, href=f"#{part.name}")) for part in parts]
    return element("nav", element("ul", *links), aria_label="Contents", class_="contents")


def _data(frame: Frame) -> Html:
    """The figures' data as JSON that cannot end its own script element."""
    content: dict[str, Any] = {
        "theme": plot_colours(),
        "arms": [
            {"name": name, "symbol": symbol(place), "dash": dash(place)}
            for place, name in enumerate(frame.heads)
        ],
        "classes": list(frame.classes),
        "figures": payload(frame.figures),
    }
    text = json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Html(f'<script type="application/json" id="page-data">{text}</script>')


def _policy(scripts: Sequence[str]) -> Html:
    """Only these very scripts may run, and nothing may be fetched from anywhere."""
    digests = [hashlib.sha256(text.encode()).digest() for text in scripts]
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    rules = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return element("meta", http_equiv="Content-Security-Policy", content=rules)


def _script(text: str) -> str:
    return f"<script>{text}</script>"


def asset(name: str) -> str:
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")

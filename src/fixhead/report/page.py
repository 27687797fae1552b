"""Records → one HTML file that needs nothing else: no network, no fonts, no other file."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from .._errors import require
from . import sections
from .figure import payload
from .html import Html, element, join
from .naming import heads_by_name
from .numbers import listing, plural
from .records import Records, read_records
from .reproduction import reproduction
from .sections import Section
from .sentences import headline
from .theme import dash, plot_colours, stylesheet, symbol

PAGE = "report.html"
_SCRIPTS = ("figures.js", "collapse.js", "data.js", "page.js")


def write_page(directory: Path) -> Path:
    """Write ``directory/report.html`` from the records there alone; give its path.

    Reads config.json, runs.jsonl, results.json and runs/*/history.jsonl. The old page stays
    until the new one is whole.

    Raises:
        RequestError: the records are missing, unreadable or of another schema; or plotly, whose
            script the page carries, is not installed.
    """
    directory = Path(directory)
    html = build_page(read_records(directory))
    path = directory / PAGE
    draft = path.with_name(f".{PAGE}.{os.getpid()}.part")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            file.write(html)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def build_page(records: Records) -> str:
    """The whole page as text."""
    parts = _sections(records)
    drawn = [figure for part in parts for figure in part.figures]
    plotly = require("plotly.offline", extra="lab").get_plotlyjs()
    early = asset("theme.js")
    scripts = [plotly if drawn else "", *map(asset, _SCRIPTS)]
    return Template(asset("page.html")).substitute(
        title=element("title", f"{_title(records)} – fixhead"),
        description=element("meta", name="description", content=headline(records).main.text),
        policy=_policy([early, *scripts]),
        style=f"<style>\n{stylesheet()}{asset('page.css')}</style>",
        early=_script(early),
        expected=len(drawn),
        heading=element("h1", _title(records)),
        subtitle=element("p", _subtitle(records), class_="subtitle"),
        contents=_contents(parts),
        result=sections.result(records),
        sections=join(_section(part) for part in parts),
        made=element("p", _made(records)),
        data=_data(records, parts),
        scripts="\n".join(map(_script, scripts)),
    )


def _sections(records: Records) -> list[Section]:
    found = [
        sections.accuracy(records),
        sections.differences(records),
        sections.learning(records),
        sections.vectors(records),
        sections.features(records),
        sections.collapse(records),
        sections.plane(records),
        sections.classes(records),
        sections.failures(records),
        reproduction(records),
    ]
    return [section for section in found if section is not None]


def _section(part: Section) -> Html:
    heading = element("h2", part.title, id=f"{part.name}-title")
    return element(
        "section", heading, part.body, id=part.name, aria_labelledby=f"{part.name}-title"
    )


def _contents(parts: Sequence[Section]) -> Html:
    links = [element("li", element("a", part.title, href=f"#{part.name}")) for part in parts]
    return element("nav", element("ul", *links), aria_label="Contents", class_="contents")


def _title(records: Records) -> str:
    data, backbone = records.results["data"], records.results["backbone"]
    return f"{plural(len(records.heads), 'head')} on {Path(data).name or data}, {backbone}"


def _subtitle(records: Records) -> str:
    """``10 classes, 64 non-negative features; 3 seeds, 30 epochs; 18 runs finished.``"""
    run = next(iter(records.done), None)
    seeds = len({run["seed"] for run in records.done})
    said = [f"{plural(len(records.done), 'run')} finished" + _failed(records)]
    if run is not None:
        sign = "non-negative " if run.get("nonnegative_features") else ""
        about = [
            plural(len(records.classes), "class") if records.classes else None,
            f"{run['features']} {sign}features" if run.get("features") else None,
            plural(seeds, "seed"),
            plural(run["epochs"], "epoch") if run.get("epochs") else None,
        ]
        said = [", ".join(part for part in about if part), *said]
    return "; ".join(said) + "."


def _failed(records: Records) -> str:
    return f", {len(records.failed)} failed" if records.failed else ""


def _made(records: Records) -> str:
    kept = ["config.json", "runs.jsonl", "results.json", "runs/*/history.jsonl"]
    version = records.config.get("fixhead", "an unknown version")
    return (
        f"Made by fixhead {version} from {listing(kept)} beside this page; "
        f"“fixhead report {records.name}” makes it anew."
    )


def _data(records: Records, parts: Sequence[Section]) -> Html:
    """The figures' data as JSON that cannot end its own script element."""
    drawn = [figure for part in parts for figure in part.figures]
    content: dict[str, Any] = {
        "theme": plot_colours(),
        "arms": [
            {"name": name, "symbol": symbol(place), "dash": dash(place)}
            for place, name in enumerate(heads_by_name(records))
        ],
        "classes": records.classes,
        "figures": payload(drawn),
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

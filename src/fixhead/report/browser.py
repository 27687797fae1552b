"""The class browser: the worst-confused pairs of every arm, with pictures where there are some."""

from __future__ import annotations

import base64
from pathlib import Path

from .geometry_figures import shown_run
from .html import Html, element, join, paragraph
from .marks import arm_name
from .naming import heads_by_name
from .numbers import count, fixed, percent
from .records import Record, Records, dig
from .section import Section, tabs

SMOOTH = 48
"""Pictures of more pixels a side are drawn smoothly, smaller ones pixel by pixel."""


def browser(records: Records) -> Section | None:
    """A tab per arm; the sheets of pictures lie in the records' folder."""
    panels, names = [], []
    for place, (name, head) in enumerate(heads_by_name(records).items()):
        run = shown_run(records, name)
        panel = _panel(place, run, records.classes, records.folder) if run else None
        if panel is not None:
            panels.append(panel)
            names.append(arm_name(place, head))
    if not panels:
        return None
    intro = paragraph(
        "The pairs of classes that were confused most, worst first: test images of one class that "
        "were taken for the other, and beside them one of the other class that was put right.",
        class_="small",
    )
    body = join([intro, _chooser(records.classes), tabs("Heads", names, panels, group="pairs-")])
    return Section("confused", "Confused classes", body)


def _chooser(classes: list[str]) -> Html:
    options = [element("option", "all pairs", value="")]
    options += [element("option", name, value=place) for place, name in enumerate(classes)]
    select = element("select", *options, data_browse="confused", autocomplete="off")
    label = element("label", element("span", "Show pairs with"), select)
    shown = element("span", role="status", class_="small", data_shown="confused")
    return element("div", label, shown, class_="controls")


def _panel(place: int, run: Record, classes: list[str], folder: Path) -> Html | None:
    facts = run.get("examples") or {}
    pairs = facts.get("pairs") or _pairs(run)
    if not pairs:
        if dig(run, "geometry", "confusion") is None:
            return None
        return paragraph("No test image of this run was confused.", class_="missing")
    sheet = _sheet(place, facts, folder)
    cosines = dig(run, "geometry", "class_cosines")
    cards = [_card(place, pair, facts if sheet else {}, classes, cosines) for pair in pairs]
    about = paragraph(f"{run['head']}, seed {run['seed']}.", class_="small")
    return join([sheet, about, element("ul", *cards, class_="confusions")])


def _pairs(run: Record, most: int = 24) -> list[Record]:
    """The same from the confusion counts, for records without pictures."""
    counts = dig(run, "geometry", "confusion") or []
    found = [
        {"label": i, "taken_for": j, "count": n, "images": sum(row), "tiles": []}
        for i, row in enumerate(counts)
        for j, n in enumerate(row)
        if n and i != j
    ]
    return sorted(found, key=lambda pair: -pair["count"])[:most]


def _sheet(place: int, facts: Record, folder: Path) -> Html | None:
    """The pictures once, as a background that every tile shows a part of."""
    path = folder / str(facts.get("file", ""))
    if not facts or not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        return None
    rows = -(-facts["number"] // facts["columns"])
    data = base64.b64encode(path.read_bytes()).decode()
    drawn = "auto" if facts["tile"] > SMOOTH else "pixelated"
    return Html(
        f"<style>.sheet-{place}{{background-image:url(data:image/webp;base64,{data});"
        f"background-size:{100 * facts['columns']}% {100 * rows}%;image-rendering:{drawn}}}</style>"
    )


def _card(
    place: int, pair: Record, facts: Record, classes: list[str], cosines: list[list[float]] | None
) -> Html:
    label, other = pair["label"], pair["taken_for"]
    share = percent(pair["count"] / pair["images"], 1)
    said = f"{count(pair['count'])} of {count(pair['images'])} ({share})"
    if cosines is not None:
        said += f", cosine {fixed(cosines[label][other])}"
    truth, told = classes[label], classes[other]
    tiles = pair["tiles"] if facts else []
    shown = [_tile(place, facts, at, f"{truth}, taken for {told}") for at in tiles]
    known = facts.get("classes", {}).get(str(other))
    if facts and known is not None:
        shown.append(_tile(place, facts, known, f"{told}, put right", "known"))
    words = paragraph(
        element("b", truth),
        " taken for ",
        element("b", told),
        element("span", said, class_="below"),
    )
    pictures = element("div", *shown, class_="tiles") if facts else None
    return element("li", words, pictures, data_classes=f"{label} {other}")


def _tile(place: int, facts: Record, at: int, words: str, kind: str = "") -> Html:
    columns, rows = facts["columns"], -(-facts["number"] // facts["columns"])
    row, column = divmod(at, columns)
    across = 100 * column / (columns - 1) if columns > 1 else 0.0
    down = 100 * row / (rows - 1) if rows > 1 else 0.0
    return element(
        "span",
        role="img",
        aria_label=words,
        title=words,
        class_=f"tile sheet-{place} {kind}".rstrip(),
        style=f"background-position:{across:.4g}% {down:.4g}%",
    )

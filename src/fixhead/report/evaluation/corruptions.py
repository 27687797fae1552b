"""Accuracy by corruption and severity, and one test image under each of them."""

from __future__ import annotations

from ..html import Html, element, escape, join, paragraph
from ..marks import arm_name
from ..naming import heads_by_name
from ..numbers import fixed, listing, percent
from ..records import Record
from ..section import Section, tabs
from ..table import Cell, Column, Row, render
from ..theme import swatch
from .record import Evaluated


def corruptions(evaluated: Evaluated) -> Section | None:
    """The arms side by side, every arm's table in a tab of its own, and the example."""
    found = evaluated.found.get("corruptions")
    if not found:
        return None
    heads = heads_by_name(evaluated.records)
    names = [arm_name(evaluated.heads.index(a["head"]), heads[a["head"]]) for a in found["arms"]]
    panels = [_severities(found, place, arm) for place, arm in enumerate(found["arms"])]
    tables = panels[0] if len(panels) == 1 else tabs("Heads", names, panels, group="corruptions-")
    body = join(
        [paragraph(_source(found)), _arms(evaluated, found, names), tables, _example(evaluated)]
    )
    return Section("corruptions", "Corruptions", body)


def _source(found: Record) -> str:
    if found.get("published"):
        return (
            f"The pictures are those of {found['published']}, as they were published; every head "
            "sees the same."
        )
    return (
        f"The test images, corrupted with the strengths published for {found['table']} pixels and "
        f"the seed {found['seed']}; every head sees the same pixels."
    )


def _arms(evaluated: Evaluated, found: Record, names: list[Html]) -> Html | None:
    if len(names) == 1:
        return None
    columns = [
        Column("Head", kind="name"),
        Column("Clean", "accuracy"),
        Column("Corrupted", "mean accuracy"),
        Column("mCE", "mean corruption error"),
    ]
    rows = []
    for name, arm in zip(names, found["arms"], strict=True):
        clean, _ = evaluated.spread(arm["head"], "accuracy")
        error = arm["mean_corruption_error"]
        rows.append(
            Row(
                [
                    Cell(name, arm["head"]),
                    Cell(percent(clean), clean),
                    Cell(percent(arm["mean_accuracy"]), arm["mean_accuracy"]),
                    Cell(fixed(error, 3), error),
                ]
            )
        )
    caption = (
        "The mean accuracy is over all kinds and severities. The corruption error of a kind is the "
        f"sum of a head’s errors over the severities by that of {found['baseline']}; mCE is its "
        "mean over the kinds, below 1 where the head makes fewer errors."
    )
    return render("corruption-arms", caption, columns, rows)


def _severities(found: Record, place: int, arm: Record) -> Html:
    """One arm: a row for every kind, a column for every severity."""
    held = arm["corruption_error"]
    columns = [
        Column("Corruption", kind="name"),
        *(Column(f"Severity {one}") for one in found["severities"]),
        Column("Mean"),
        *([Column("Error", f"against {found['baseline']}")] if held else []),
    ]
    rows = []
    for kind, rates in arm["accuracy"].items():
        values = list(rates.values())
        values.append(sum(values) / len(values))
        cells = [Cell(_words(kind), kind), *(Cell(percent(v, 1), v) for v in values)]
        if held:
            cells.append(Cell(fixed(held[kind], 3), held[kind]))
        rows.append(Row(cells))
    caption = f"Accuracy of {arm['head']}, the mean of its models."
    return render(f"corruption-{place}", caption, columns, rows)


def _example(evaluated: Evaluated) -> Html | None:
    """A grid of pictures: kinds down, severities across."""
    found = evaluated.found["corruptions"]
    examples = found.get("examples")
    if not examples:
        return None
    pictures = {(one["kind"], one["severity"]): one for one in examples["pictures"]}
    head = [element("th", "Corruption", scope="col")]
    head += [element("th", f"Severity {one}", scope="col") for one in found["severities"]]
    rows = []
    for kind in found["kinds"]:
        cells = [
            element("td", _picture(evaluated, pictures[kind, severity]))
            for severity in found["severities"]
        ]
        rows.append(element("tr", element("th", _words(kind), scope="row"), *cells))
    grid = element(
        "table",
        element("thead", element("tr", *head)),
        element("tbody", *rows),
        class_="example-grid",
    )
    box = element("div", grid, class_="sideways", tabindex=0, role="group", aria_label="Example")
    said = paragraph(_caption(evaluated, examples), class_="small")
    before = _before(evaluated, examples)
    return element("div", element("h3", "Example"), said, before, box, class_="example-box")


def _caption(evaluated: Evaluated, examples: Record) -> str:
    who = (
        "The marks below a picture are of the heads that recognise it in at least half of their "
        "models."
        if len(evaluated.heads) > 1
        else "A picture is marked where at least half of the models recognise it."
    )
    if examples["index"] is None:
        return f"The first image of each kind. {who}"
    return f"Test image number {examples['index']} under every corruption. {who}"


def _before(evaluated: Evaluated, examples: Record) -> Html | None:
    if examples["image"] is None:
        return None
    name = evaluated.classes[examples["label"]]
    image = element("img", src=examples["image"], alt=f"{name}, not corrupted", class_="example")
    return element("p", image, element("span", f"Not corrupted: {name}"), class_="before")


def _picture(evaluated: Evaluated, picture: Record) -> Html:
    seen = [head for head, share in picture["recognised"].items() if share >= 0.5]
    said = f"recognised by {listing(seen)}" if seen else "recognised by none"
    what = f"{_words(picture['kind'])}, severity {picture['severity']}"
    image = element("img", src=picture["image"], alt=f"{what}: {said}", class_="example")
    marks = [swatch(place) for place, head in enumerate(evaluated.heads) if head in seen]
    shown = join(marks) if marks else escape("–")
    return join([image, element("span", shown, class_="seen", title=said)])


def _words(kind: str) -> str:
    return kind.replace("-", " ")

"""The evaluation in a sentence, and the table of accuracies."""

from __future__ import annotations

from typing import Any

from ..html import Html, element, paragraph
from ..marks import Axis, arm_name, scale, strip
from ..naming import heads_by_name
from ..numbers import (
    count,
    fixed,
    listing,
    mean_std,
    percent,
    percent_spread,
    plural,
)
from ..records import dig
from ..section import Section
from ..table import Cell, Column, Row, render
from .record import Evaluated


def headline(evaluated: Evaluated) -> str:
    """What the models reach, in one sentence; which head is better is for paired runs to say."""
    images = f"{count(evaluated.models[0]['images'])} test images"
    said = {head: percent_spread(*evaluated.spread(head, "accuracy")) for head in evaluated.heads}
    if len(said) == 1:
        mean = "" if len(evaluated.models) == 1 else f", mean of {len(evaluated.models)} models"
        return f"{next(iter(said.values()))} of {images} are put into their own class{mean}."
    order = sorted(said, key=lambda head: evaluated.spread(head, "accuracy")[0] or 0.0)
    return (
        f"Between {said[order[0]]} ({order[0]}) and {said[order[-1]]} ({order[-1]}) of {images} "
        "are put into their own class."
    )


def opening(evaluated: Evaluated) -> Html:
    """The sentence, what else there is to say in one line, and the notes on the data."""
    also = [element("li", line) for line in _lines(evaluated)]
    notes = evaluated.found.get("notes") or []
    aside = element(
        "aside",
        element("h2", "Notes"),
        element("ul", *(element("li", note) for note in notes)),
        class_="notes",
        aria_label="Notes",
    )
    return element(
        "section",
        element("h2", "Result", class_="unseen"),
        paragraph(headline(evaluated), class_="headline none"),
        element("ul", *also, class_="also") if also else None,
        aside if notes else None,
        id="result",
    )


def _lines(evaluated: Evaluated) -> list[str]:
    lines = []
    for head in evaluated.heads:
        gone = [model["never_predicted"] for model in evaluated.of(head)]
        most = max(gone, key=len)
        if most:
            named = listing([*most[:5], *(["others"] if len(most) > 5 else [])])
            lines.append(
                f"{head} never predicts {plural(len(most), 'class')} that the set holds: {named}."
            )
    if len(evaluated.heads) > 1:
        lines.append(
            "These models are described, not compared: whether heads differ is for a comparison "
            "with paired seeds to say."
        )
    return lines


def accuracy(evaluated: Evaluated) -> Section:
    """Accuracy, its balanced forms, loss and calibration of every arm."""
    axis = _axis(evaluated)
    columns = [
        Column("Head", kind="name"),
        Column("Accuracy", "mean ± std", kind="number main"),
        Column("Models", scale([percent(axis.low, 1), percent(axis.high, 1)]), "drawing", False),
        Column("n", "models", kind="number n"),
        Column("Balanced", "accuracy"),
        Column("Macro-F1"),
        Column("Loss", "nats"),
        Column("Calibration", "expected error"),
    ]
    heads = heads_by_name(evaluated.records)
    rows = []
    for place, name in enumerate(evaluated.heads):
        values = [model["accuracy"] for model in evaluated.of(name)]
        middle, deviation = mean_std(values)
        cells = [
            Cell(arm_name(place, heads[name], describe=True), name),
            Cell(percent_spread(middle, deviation), middle),
            Cell(strip(place, values, middle, axis)),
            Cell(str(len(values)), len(values)),
            *(_percent(evaluated, name, field) for field in ("balanced_accuracy", "macro_f1")),
            _number(evaluated, name, 4, "loss"),
            _percent(evaluated, name, "calibration", "expected_error"),
        ]
        rows.append(Row(cells))
    caption = (
        "On the test images, means over the models of each head. The expected calibration error is "
        "the mean gap between confidence and accuracy, over 15 bins of equal width."
    )
    return Section("accuracy", "Accuracy", render("arms", caption, columns, rows))


def _axis(evaluated: Evaluated) -> Axis:
    values = [model["accuracy"] for model in evaluated.models]
    room = max(0.08 * (max(values) - min(values)), 0.002)
    return Axis(max(0.0, min(values) - room), min(1.0, max(values) + room))


def _percent(evaluated: Evaluated, head: str, *path: str) -> Cell:
    middle, deviation = evaluated.spread(head, *path)
    return Cell(_over(percent(middle), deviation and 100 * deviation, 2), middle)


def _number(evaluated: Evaluated, head: str, digits: int, *path: str) -> Cell:
    return number(evaluated.spread(head, *path), digits)


def number(spread: tuple[float | None, float | None], digits: int = 3) -> Cell:
    """``0.412`` over ``± 0.020``, sorted by the mean."""
    middle, deviation = spread
    return Cell(_over(fixed(middle, digits), deviation, digits), middle)


def _over(shown: str, deviation: float | None, digits: int) -> str:
    """The mean, with the spread in small below it where there is one."""
    if deviation is None:
        return shown
    below = element("span", f"± {fixed(deviation, digits)}", class_="below")
    return element("span", shown, below)


def missing_everywhere(evaluated: Evaluated, *path: str) -> bool:
    """Whether no model's record has this figure."""
    values: list[Any] = [dig(model, *path) for model in evaluated.models]
    return all(value is None for value in values)

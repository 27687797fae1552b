"""A figure of the page: its data once, its words, and the place where the script draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .html import Html, element
from .naming import Head
from .theme import swatch


@dataclass(frozen=True)
class Control:
    """A choice that redraws the figure; ``options`` are (value, words), the first is chosen."""

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
class Figure:
    """``kind`` names the drawing routine; ``summary`` says in words what the drawing shows.

    ``height`` is in px; 0 makes the drawing square.
    """

    name: str
    kind: str
    title: str
    explanation: str
    summary: str
    data: dict[str, Any]
    height: int = 380
    controls: Sequence[Control | Slider] = ()
    legend: bool = False


def render(figure: Figure, heads: Sequence[Head] = ()) -> Html:
    """The figure with its caption, choices, drawing, downloads and table."""
    name = figure.name
    return element(
        "figure",
        element(
            "figcaption",
            element("h3", figure.title),
            element("p", figure.explanation),
            id=f"caption-{name}",
        ),
        _controls(figure),
        _legend(figure, heads),
        element(
            "div",
            class_="plot square" if figure.height == 0 else "plot",
            id=f"plot-{name}",
            role="img",
            aria_label=figure.summary,
            data_plot=name,
            style=None if figure.height == 0 else f"--height:{figure.height}px",
        ),
        _foot(figure),
        class_=f"figure {figure.kind}",
        aria_labelledby=f"caption-{name}",
    )


def payload(figures: Sequence[Figure]) -> dict[str, Any]:
    """What the script needs to draw them, by name."""
    return {
        figure.name: {"kind": figure.kind, "title": figure.title, **figure.data}
        for figure in figures
    }


def _controls(figure: Figure) -> Html | None:
    if not figure.controls:
        return None
    return element(
        "div",
        *(
            _slider(figure, one) if isinstance(one, Slider) else _control(figure.name, one)
            for one in figure.controls
        ),
        class_="controls",
    )


def _slider(figure: Figure, slider: Slider) -> Html:
    """Its value is the step's place; the words beside it change with it."""
    last = len(slider.labels) - 1
    bar = element(
        "input",
        type="range",
        min=0,
        max=last,
        value=last,
        step=1,
        data_figure=figure.name,
        data_control=slider.name,
        data_labels=" ".join(slider.labels),
        aria_valuetext=f"{slider.title} {slider.labels[last]}",
        autocomplete="off",
    )
    shown = element("output", slider.labels[last], class_="step")
    play = element(
        "button",
        "Play",
        type="button",
        class_="quiet play",
        data_play=figure.name,
        aria_label=f"Play “{figure.title}”",
    )
    label = element("label", element("span", slider.title), bar, shown)
    return element("span", label, play, class_="slider")


def _control(figure: str, control: Control) -> Html:
    options = [element("option", words, value=value) for value, words in control.options]
    return element(
        "label",
        element("span", control.title),
        element(
            "select", *options, data_figure=figure, data_control=control.name, autocomplete="off"
        ),
    )


def _legend(figure: Figure, heads: Sequence[Head]) -> Html | None:
    if not figure.legend:
        return None
    buttons = [
        element(
            "button",
            swatch(place),
            element("span", head.name),
            type="button",
            aria_pressed="true",
            data_figure=figure.name,
            data_arm=place,
        )
        for place, head in enumerate(heads)
    ]
    return element("div", *buttons, class_="legend", role="group", aria_label="Heads shown")


def _foot(figure: Figure) -> Html:
    table = element(
        "details",
        element("summary", "Data as a table"),
        element("div", class_="data-table", data_table=figure.name),
        class_="data",
    )
    saves = [
        element(
            "button",
            what,
            type="button",
            class_="quiet",
            data_save=what.lower(),
            data_figure=figure.name,
            aria_label=f"Save “{figure.title}” as {what}",
        )
        for what in ("CSV", "SVG")
    ]
    return element("div", table, element("div", *saves, class_="saves"), class_="foot")

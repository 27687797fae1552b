"""A section of a page, and tabs inside one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .figure import Figure
from .html import Html, element


@dataclass(frozen=True)
class Section:
    """``name`` is its anchor; the figures' data go to the page's script."""

    name: str
    title: str
    body: Html
    figures: Sequence[Figure] = ()


def tabs(label: str, names: Sequence[Html], panels: Sequence[Html], *, group: str = "") -> Html:
    """A button for every panel; ``group`` keeps the ids of several tab rows apart."""
    buttons = [
        element(
            "button",
            name,
            type="button",
            role="tab",
            id=f"{group}tab-{place}",
            aria_controls=f"{group}panel-{place}",
            aria_selected="true" if place == 0 else "false",
            tabindex=0 if place == 0 else -1,
        )
        for place, name in enumerate(names)
    ]
    bodies = [
        element(
            "div",
            panel,
            role="tabpanel",
            id=f"{group}panel-{place}",
            aria_labelledby=f"{group}tab-{place}",
            tabindex=0,
        )
        for place, panel in enumerate(panels)
    ]
    row = element("div", *buttons, role="tablist", aria_label=label)
    return element("div", row, *bodies, class_="tabs")

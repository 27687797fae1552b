"""How pages look: HTML from ``templates/``, and the colours and marks of page and arms.

Text is escaped on its way into a template, Markup is not. The arms' colours were searched for the
largest smallest distance (OKLab) between any two, as seen with normal sight, protanopia,
deuteranopia and tritanopia (Machado et al. 2009), at a contrast of 3 : 1 or more with the ground;
the tests repeat that measurement. Shape and dash repeat what the colour says. One place serves CSS
and plots, light and dark.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup


def fill(template: str, macro: str, /, *args: Any, **values: Any) -> Markup:
    """One piece of a page: ``macro`` of ``templates/TEMPLATE.html.j2``, called with ``values``."""
    piece: Markup = getattr(_template(template).module, macro)(*args, **values)
    return piece


def document(template: str, /, **values: Any) -> str:
    """A whole file from ``templates/TEMPLATE.html.j2``."""
    return _template(template).render(**values)


def join(pieces: Any) -> Markup:
    """One piece from many; None stands for nothing."""
    return Markup("").join(piece for piece in pieces if piece is not None)


def asset(name: str) -> str:
    """A stylesheet or script of ``assets/``, which pages carry whole."""
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


@cache
def _template(name: str) -> Template:
    return _environment().get_template(f"{name}.html.j2")


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: "" if value is None else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _source(name: str) -> str:
    return files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


LIGHT = {
    "ground": "#ffffff",
    "raised": "#f5f6f7",
    "ink": "#14171c",
    "soft": "#565d68",
    "line": "#dfe2e6",
    "strong-line": "#878e99",
    "accent": "#2b50b8",
    "accent-ground": "#eef2fd",
    "low": "#2f5fb3",
    "middle": "#f3f3f1",
    "high": "#b8541a",
}
DARK = {
    "ground": "#111317",
    "raised": "#1a1d23",
    "ink": "#e9ebee",
    "soft": "#a4abb7",
    "line": "#2d323b",
    "strong-line": "#79818e",
    "accent": "#9db7ff",
    "accent-ground": "#1c2438",
    "low": "#6c9cf2",
    "middle": "#20242b",
    "high": "#f0955a",
}
ARMS_LIGHT = (
    "#323fa2", "#ae4022", "#27a28a", "#792f4f", "#ba7f14", "#7d64d0",
    "#117c8c", "#971c11", "#4d6d4e", "#73417e", "#99795a", "#9b7be9",
)  # fmt: skip
ARMS_DARK = (
    "#436ed1", "#e48b53", "#66edc7", "#bc426a", "#ebd23e", "#b296ff",
    "#6a9aaf", "#c67164", "#6a7f0d", "#99579f", "#d9ac98", "#b7bffe",
)  # fmt: skip

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")
_PATHS = {
    "circle": "M8 4a4 4 0 1 0 .01 0z",
    "square": "M4.4 4.4h7.2v7.2H4.4z",
    "diamond": "M8 3.2 12.8 8 8 12.8 3.2 8z",
    "triangle-up": "M8 3.4 12.6 12H3.4z",
    "triangle-down": "M8 12.6 12.6 4H3.4z",
    "cross": "M6.5 3.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
}


def symbol(index: int) -> str:
    """Plotly's name of an arm's marker: six shapes, filled and then open."""
    shape = SYMBOLS[index % len(SYMBOLS)]
    return f"{shape}-open" if _round(index) % 2 else shape


def dash(index: int) -> str:
    """Solid for the first six arms, dashed for the next six, dotted after."""
    return ("solid", "dash", "dot")[min(_round(index), 2)]


def arm_mark(index: int) -> tuple[str, str]:
    """The outline of an arm's mark in a box of 16 × 16, and whether it is ``open`` or ``full``."""
    kind = "open" if _round(index) % 2 else "full"
    return _PATHS[SYMBOLS[index % len(SYMBOLS)]], kind


def arm_colour(index: int) -> int:
    """The number of an arm's colour among the custom properties."""
    return index % len(ARMS_LIGHT)


def stylesheet() -> str:
    """The custom properties of both themes; the button's choice wins over the system's."""
    light, dark = _properties(LIGHT, ARMS_LIGHT), _properties(DARK, ARMS_DARK)
    return (
        f":root {{ color-scheme: light; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root:not([data-theme=light]) "
        f"{{ color-scheme: dark; {dark} }} }}\n"
        f":root[data-theme=dark] {{ color-scheme: dark; {dark} }}\n"
    )


def plot_colours() -> dict[str, dict[str, object]]:
    """The same, for the plots."""
    return {
        "light": {**LIGHT, "arms": list(ARMS_LIGHT)},
        "dark": {**DARK, "arms": list(ARMS_DARK)},
    }


def _properties(tokens: dict[str, str], arms: tuple[str, ...]) -> str:
    pairs = list(tokens.items())
    pairs += [(f"arm-{index}", value) for index, value in enumerate(arms)]
    return " ".join(f"--{name}: {value};" for name, value in pairs)


def _round(index: int) -> int:
    return index // len(SYMBOLS)

"""HTML from the templates in ``templates/``: text is escaped on its way in, Markup is not."""

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

"""HTML from plain functions: text is escaped on its way in, unless it is already ``Html``."""

from __future__ import annotations

import html
from collections.abc import Iterable

Attribute = str | int | float | bool | None

_VOID = {"meta", "link", "br", "hr", "img", "input"}


class Html(str):
    """Text that is HTML already; only the functions below make it from anything else."""

    __slots__ = ()


def escape(text: str) -> Html:
    """Text as it may stand between tags or in a quoted attribute; ``Html`` passes unchanged."""
    return text if isinstance(text, Html) else Html(html.escape(text, quote=True))


def join(children: Iterable[str | None]) -> Html:
    """One piece from many; None stands for nothing."""
    return Html("".join(escape(child) for child in children if child is not None))


def element(name: str, /, *children: str | None, **attributes: Attribute) -> Html:
    """``element("td", "a < b", data_v=3)`` → ``<td data-v="3">a &lt; b</td>``.

    An attribute that is True stands alone, None or False is left out; ``class_`` loses its
    underscore and the others' underscores become hyphens.
    """
    opening = f"<{name}{''.join(_attribute(*pair) for pair in attributes.items())}>"
    if name in _VOID:
        return Html(opening)
    return Html(f"{opening}{join(children)}</{name}>")


def paragraph(*children: str | None, class_: str | None = None) -> Html:
    return element("p", *children, class_=class_)


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value), quote=True)}"'

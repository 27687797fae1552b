"""Records → tables → figures → one page. Knows records only: never a model or a data set."""

from __future__ import annotations

from .page import write_page

__all__ = ["write_page"]

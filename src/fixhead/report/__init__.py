"""Records → tables → figures → one page. Knows records only: never a model or a data set."""

from __future__ import annotations

from .page import write_page
from .paper_page import is_paper, write_paper_page

__all__ = ["is_paper", "write_page", "write_paper_page"]

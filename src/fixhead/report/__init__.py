"""Records → tables → figures → one page. Knows records only: never a model or a data set."""

from __future__ import annotations

from .evaluation import write_evaluation_page
from .page import write_page
from .paper_page import is_paper, write_paper_page
from .rebuild import write_pages

__all__ = [
    "is_paper",
    "write_evaluation_page",
    "write_page",
    "write_pages",
    "write_paper_page",
]

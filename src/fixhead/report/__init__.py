"""Records → pages: tables, charts and words, from records alone, never a model or a data set.

Every kind of page is imported when one is made.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .._lazy import lazy_names
from ..runs.layout import EVALUATION_FILE, RESULTS_FILE

if TYPE_CHECKING:
    from .comparison_page import write_page
    from .evaluation_page import write_evaluation_page
    from .paper_page import write_paper_page
    from .records import is_paper

__all__ = [
    "is_paper",
    "write_evaluation_page",
    "write_page",
    "write_pages",
    "write_paper_page",
]

__getattr__ = lazy_names(
    __name__,
    {
        "is_paper": "records",
        "write_evaluation_page": "evaluation_page",
        "write_page": "comparison_page",
        "write_paper_page": "paper_page",
    },
)


def write_pages(directory: Path) -> list[Path]:
    """A comparison's page, an evaluation's, or both, or a paper's, from ``directory`` alone.

    Raises:
        RequestError: the folder holds neither, or records that cannot be read.
    """
    from . import is_paper, write_evaluation_page, write_page, write_paper_page

    directory = Path(directory)
    if is_paper(directory):
        return [write_paper_page(directory)]
    evaluated = (directory / EVALUATION_FILE).is_file()
    compared = (directory / RESULTS_FILE).is_file()
    pages = [write_page(directory)] if compared or not evaluated else []
    return [*pages, write_evaluation_page(directory)] if evaluated else pages

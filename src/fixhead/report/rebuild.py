"""Every page that a folder's records give."""

from __future__ import annotations

from pathlib import Path

from .evaluation import write_evaluation_page
from .evaluation.record import FILE
from .page import write_page
from .paper_page import is_paper, write_paper_page


def write_pages(directory: Path) -> list[Path]:
    """A comparison's page, an evaluation's, or both, or a paper's, from ``directory`` alone.

    Raises:
        RequestError: the folder holds neither, or records that cannot be read.
    """
    directory = Path(directory)
    if is_paper(directory):
        return [write_paper_page(directory)]
    evaluated = (directory / FILE).is_file()
    compared = (directory / "results.json").is_file()
    pages = [write_page(directory)] if compared or not evaluated else []
    return [*pages, write_evaluation_page(directory)] if evaluated else pages

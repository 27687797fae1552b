"""``fixhead report``: the page again, from the records alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder that `compare` or `paper` wrote.")
    ],
    open_: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
) -> None:
    """Rebuild DIR/report.html from the records in DIR; nothing is trained or loaded."""
    import webbrowser

    from ..report import is_paper, write_page, write_paper_page

    path = write_paper_page(directory) if is_paper(directory) else write_page(directory)
    typer.echo(str(path))
    if open_ and not webbrowser.open(path.resolve().as_uri()):
        typer.echo("no browser could be started here; open the file above", err=True)

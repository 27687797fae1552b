"""``fixhead report``: the pages again, from the records alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Give the folder that `compare`, `evaluate` or an item of `paper` wrote.",
        ),
    ],
    open_: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
) -> None:
    """Rebuild report.html and evaluation.html from the records in DIR; nothing is trained or
    loaded."""
    import webbrowser

    from ..report import write_pages

    for path in write_pages(directory):
        typer.echo(str(path))
        if open_ and not webbrowser.open(path.resolve().as_uri()):
            typer.echo("no browser could be started here; open the file above", err=True)

"""``fixhead report``, ``watch`` and ``merge``: folders of runs, by their records alone."""

from __future__ import annotations

import sys
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
    loaded.

    A comparison that was stopped, or is still at work, has its finished runs summed up first.
    """
    import webbrowser

    from ..comparison.folder import is_behind
    from ..report import write_pages

    if is_behind(directory):
        from ..comparison.job import write_results

        write_results(directory)
    for path in write_pages(directory):
        typer.echo(str(path))
        if open_ and not webbrowser.open(path.resolve().as_uri()):
            typer.echo("no browser could be started here; open the file above", err=True)


def watch(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Give the folder of a comparison at work.")
    ],
    every: Annotated[
        float, typer.Option(min=0.1, help="Look again after this many seconds.")
    ] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Look once, as where the output is no terminal.")
    ] = False,
) -> None:
    """Show how a comparison gets on: progress, means so far and the time left, until it is done.

    It only reads the records in DIR, whichever processes write them.
    """
    from ..comparison.terminal import watch as watch_folder

    watch_folder(directory, every_s=every, once=once or not sys.stdout.isatty())


def merge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Give the folders of two comparisons.")
    ],
    out: Annotated[Path, typer.Option(help="Write the joined comparison into this new folder.")],
) -> None:
    """Join comparisons of one protocol, made on several machines, in a new folder.

    They may differ in heads, seeds, device and the place of the data. A run that several of them
    have must have the same figures in each.
    """
    from ..comparison.folder import merge as merge_folders
    from ..comparison.job import write_results
    from ..comparison.terminal import show_outcome

    merge_folders(folders, out, lambda line: print(line, file=sys.stderr, flush=True))
    show_outcome(write_results(out), out)

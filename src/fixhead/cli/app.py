"""The commands by name."""

from __future__ import annotations

from typing import Annotated

import typer

from .._version import __version__
from .bench import bench_app
from .compare import compare
from .data import data_app
from .evaluate import evaluate
from .export import export
from .paper import paper
from .predict import embed, predict, search
from .report import merge, report, watch
from .serve import serve
from .train import train
from .vectors import vectors

app = typer.Typer(
    name="fixhead",
    help="The classification layer, designed instead of learned.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(compare)
app.command()(train)
app.command()(evaluate)
app.command()(predict)
app.command()(embed)
app.command()(search)
app.command()(export)
app.command()(serve)
app.command()(paper)
app.command()(vectors)
app.command()(report)
app.command()(watch)
app.command()(merge)
app.add_typer(data_app)
app.add_typer(bench_app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The classification layer, designed instead of learned."""

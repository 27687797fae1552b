"""``fixhead data``: what data sets there are, whether they are whole, and decoding them ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from .._errors import RequestError
from ..data.reading import Reading
from .options import READING, AsJson, DataDir, ImageSize, configured

data_app = typer.Typer(
    name="data",
    help="List, check and prepare data sets.",
    no_args_is_help=True,
    add_completion=False,
)

Name = Annotated[
    str, typer.Argument(help="Give the name of a data set, or the path of images or features.")
]


@data_app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """Name the data sets, and say which files each one needs."""
    from ..data.checks import list_datasets, show_list

    listed = list_datasets()
    _print_json([vars(row) for row in listed]) if as_json else show_list(listed)


@data_app.command("check")
@configured(*READING)
def check_command(
    reading: dict[str, Any],
    name: Name,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    imbalance: Annotated[
        str | None,
        typer.Option(
            help="Show what exp:0.01, step:0.1, geometric:0.5 or counts:FILE would leave of each "
            "class.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count a data set, verify its checksums, and look for test images among training images."""
    from ..data.checks import check, show_check

    found = check(
        name,
        data_dir=data_dir,
        image_size=image_size,
        imbalance=imbalance,
        reading=Reading(**reading),
    )
    _print_json(found.as_dict()) if as_json else show_check(found)
    if not found.passed:
        raise typer.Exit(1)


@data_app.command("prepare")
@configured(*READING)
def prepare_command(
    reading: dict[str, Any],
    name: Name,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    fetch: Annotated[
        bool, typer.Option("--download", help="Fetch the files into --data-dir first.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Decode a data set into the cache now, so that the first run need not."""
    if fetch and data_dir is None:
        raise RequestError("--download needs --data-dir, the folder to put the files into")
    from ..data.catalogue import download
    from ..data.checks import prepare, show_prepared

    if fetch and data_dir is not None:
        download(name, data_dir)
    with _bar() as progress:
        prepared = prepare(
            name,
            data_dir=data_dir,
            image_size=image_size,
            reading=Reading(**reading),
            progress=progress,
        )
    _print_json(vars(prepared)) if as_json else show_prepared(prepared)


@data_app.command("corrupt")
def corrupt_command(
    source: Annotated[Path, typer.Argument(help="Name the picture to corrupt.", metavar="IN.png")],
    target: Annotated[Path, typer.Argument(help="Name the picture to write.", metavar="OUT.png")],
    kind: Annotated[
        str, typer.Option(help="Choose a corruption: jpeg, impulse-noise, defocus-blur, fog, …")
    ],
    severity: Annotated[int, typer.Option(help="Choose how strong it is, from 1 to 5.")] = 3,
    table: Annotated[
        int | None,
        typer.Option(
            help="Take the strengths for images of 32, 64 or 224 pixels instead of the nearest.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Draw the noise from this seed.")] = 0,
    frost: Annotated[
        Path | None,
        typer.Option(
            help="Take the photographs of frost from this folder; only frost needs them.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Corrupt one picture as a test set would be, to see what a severity means."""
    from ..data.corruptions.apply import corrupt_picture

    made = corrupt_picture(
        source, target, kind=kind, severity=severity, table=table, seed=seed, frost_dir=frost
    )
    if as_json:
        _print_json(vars(made))
    else:
        print(f"{made.kind}, severity {made.severity} of table {made.table}: {made.target}")


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("decoding", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_json(value: object) -> None:
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False))

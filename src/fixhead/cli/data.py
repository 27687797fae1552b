"""``fixhead data``: what data sets there are, whether they are whole, and decoding them ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson, DataDir

if TYPE_CHECKING:
    from ..data.checks import Check, Listed, Prepared

data_app = typer.Typer(
    name="data", help="Data sets: list, check, prepare.", no_args_is_help=True, add_completion=False
)

Name = Annotated[str, typer.Argument(help="A data set's name, or the path of images or features.")]
ImageSize = Annotated[
    int | None, typer.Option(help="Resize the images to this many pixels.", show_default=False)
]


@data_app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """Name the data sets, and say which files each one needs."""
    from ..data.checks import list_datasets

    listed = list_datasets()
    _print_json([vars(row) for row in listed]) if as_json else _show_list(listed)


@data_app.command("check")
def check_command(
    name: Name,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    imbalance: Annotated[
        str | None,
        typer.Option(
            help="Show the counts of exp:0.01, step:0.1, geometric:0.5 or counts:FILE.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count a data set, verify its checksums, and look for test images among training images."""
    from ..data.checks import check

    found = check(name, data_dir=data_dir, image_size=image_size, imbalance=imbalance)
    _print_json(found.as_dict()) if as_json else _show_check(found)
    if not found.passed:
        raise typer.Exit(1)


@data_app.command("prepare")
def prepare_command(
    name: Name,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    fetch: Annotated[
        bool, typer.Option("--download", help="Fetch the files into --data-dir first.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Decode a data set into the cache now, so that the first run need not."""
    from .._errors import RequestError
    from ..data.catalogue import download
    from ..data.checks import prepare

    if fetch:
        if data_dir is None:
            raise RequestError("--download needs --data-dir, the folder to put the files into")
        download(name, data_dir)
    with _bar() as progress:
        prepared = prepare(name, data_dir=data_dir, image_size=image_size, progress=progress)
    _print_json(vars(prepared)) if as_json else _show_prepared(prepared)


@data_app.command("corrupt")
def corrupt_command(
    source: Annotated[Path, typer.Argument(help="A picture.", metavar="IN.png")],
    target: Annotated[Path, typer.Argument(help="The picture to write.", metavar="OUT.png")],
    kind: Annotated[str, typer.Option(help="jpeg, impulse-noise, defocus-blur, fog, …")],
    severity: Annotated[int, typer.Option(help="1 to 5.")] = 3,
    table: Annotated[
        int | None,
        typer.Option(
            help="The strengths for 32, 64 or 224 pixels; by default the nearest.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    frost: Annotated[
        Path | None,
        typer.Option(help="The folder with the photographs of frost.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Corrupt one picture as a test set would be, to see what a severity means."""
    from ..data.corruptions import corrupt_picture

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


def _show_list(rows: tuple[Listed, ...]) -> None:
    for row in rows:
        size = f"{row.classes} classes, {row.image_size}x{row.image_size}"
        print(f"{row.name:<15} {row.title:<34} {size:<24} needs {row.needs}")


def _show_check(found: Check) -> None:
    colour = "colour" if found.channels == 3 else f"{found.channels} channel(s)"
    print(f"{found.title} ({found.name}): {found.image_size}x{found.image_size}, {colour}")
    for part, counts in found.splits.items():
        sizes = counts.per_class.values()
        print(
            f"  {part}: {counts.images} images of {counts.classes} classes, "
            f"{min(sizes)} to {max(sizes)} of each"
        )
    print(
        f"  test images that are also training images: {found.duplicates} "
        f"({found.disagreeing} with another label)"
    )
    for file, state in found.checksums.items():
        print(f"  checksum {state}: {file}")
    if not found.checksums:
        print("  no checksum is known for these files")
    for note in found.notes:
        print(f"  note: {note}")
    if found.imbalance is not None:
        _show_tail(found.imbalance)


def _show_tail(tail: dict[str, object]) -> None:
    print(f"  {tail['rule']} would leave {tail['images']} training images:")
    per_class = tail["per_class"]
    assert isinstance(per_class, dict)
    for name, count in per_class.items():
        print(f"    {count:>6}  {name}")


def _show_prepared(prepared: Prepared) -> None:
    where = prepared.folder or "memory (nothing to cache)"
    print(
        f"{prepared.name}: {prepared.images} images in {where}, {prepared.bytes / 2**20:.1f} MiB, "
        f"{prepared.seconds:.2f} s ({prepared.images_per_second:,.0f} images/s)"
    )
    for note in prepared.notes:
        print(f"  note: {note}")

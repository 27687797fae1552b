"""``fixhead bench``: what a step costs here, against the ways one would otherwise take."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from .._errors import RequestError, require
from .options import AsJson, split_list

if TYPE_CHECKING:
    from ..bench.rivals import Timing

bench_app = typer.Typer(
    name="bench", help="Time the heads on this machine.", no_args_is_help=True, add_completion=False
)


@bench_app.callback()
def bench() -> None:
    """Time the heads on this machine."""


@bench_app.command("head")
def head_command(
    classes: Annotated[
        str,
        typer.Option(
            help="Time this many classes K, e.g. 100000 or 1e6, or several by commas for --plot."
        ),
    ] = "1e5",
    features: Annotated[int, typer.Option(help="Time features of this size d.")] = 512,
    rows: Annotated[int, typer.Option(help="Take this many images N in a step.")] = 256,
    against: Annotated[
        str,
        typer.Option(
            help="Time these too: plain, plain-half, chunked, learned, learned-chunked, "
            "learned-adam, linear_cross_entropy, partial-fc, adaptive-softmax, liger, cce, "
            "native-avx2, native-portable; '' times the code alone."
        ),
    ] = "plain",
    device: Annotated[str, typer.Option(help="Time on cpu, cuda or cuda:N.")] = "cpu",
    dtype: Annotated[
        str,
        typer.Option(
            help="Compute in float32; on CUDA also in bfloat16 or float16, where plain runs under "
            "autocast."
        ),
    ] = "float32",
    rounds: Annotated[int, typer.Option(help="Time this many steps of every path, in turn.")] = 7,
    plot: Annotated[
        str | None,
        typer.Option(help="Write a page with cost against K to this file.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time a training step over K classes: forward, and the gradient to the features."""
    from ..bench.rivals import Sizes, contest

    counts = [_whole("--classes", text, 2) for text in split_list(classes)]
    if not counts:
        raise RequestError("--classes needs a whole number, got nothing")
    for name, value in (("--features", features), ("--rows", rows), ("--rounds", rounds)):
        _whole(name, str(value), 1)
    found = [
        timing
        for count in counts
        for timing in contest(
            Sizes(count, features, rows, device, dtype), split_list(against), rounds=rounds
        )
    ]
    if plot is not None:
        _plot(found, plot)
    if as_json:
        typer.echo(json.dumps([asdict(timing) for timing in found], indent=2, allow_nan=False))
    else:
        _show(found)


@bench_app.command("paths")
def paths_command(as_json: AsJson = False) -> None:
    """Which path code vectors take on this processor, and why; FIXHEAD_SCALE_PATH forces one."""
    from ..many_classes.native import library as native

    chosen = native.chosen()
    rows = [
        {"path": name, "available": there, "in_use": name == chosen.name, "note": note}
        for name, there, note in native.paths()
    ]
    if as_json:
        told = {"in_use": chosen.name, "why": chosen.why, "variable": native.VARIABLE}
        typer.echo(json.dumps({**told, "paths": rows}, indent=2))
        return
    typer.echo(f"in use: {chosen.name}: {chosen.why}")
    for row in rows:
        typer.echo(
            f"{'*' if row['in_use'] else ' '} {row['path']:16} "
            f"{'yes' if row['available'] else 'no ':4} {row['note']}".rstrip()
        )
    typer.echo(f"{native.VARIABLE} may be {', '.join(native.CHOICES)}")


def _whole(name: str, text: str, least: int) -> int:
    """``"1e6"`` → 1000000."""
    try:
        value = float(text)
        whole = int(value)
    except (ValueError, OverflowError):
        raise RequestError(f"{name} needs a whole number, e.g. 1e6, got {text!r}") from None
    if whole != value or whole < least:
        raise RequestError(f"{name} needs a whole number of at least {least}, got {text!r}")
    return whole


def _show(timings: list[Timing]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("path", "K", "median ms", "min … max", "first ms", "peak MiB", "× plain")
    for t in timings:
        table.add_row(
            t.path,
            f"{t.classes:,}",
            f"{t.median_ms:.2f}",
            f"{t.min_ms:.2f} … {t.max_ms:.2f}",
            f"{t.first_ms:.1f}",
            "?" if t.peak_bytes is None else f"{t.peak_bytes / 2**20:.1f}",
            "" if t.ratio_to_plain is None else f"{t.ratio_to_plain:.2f}",
        )
    Console(highlight=False).print(table)


def _plot(timings: list[Timing], path: str) -> None:
    go = require("plotly.graph_objects", extra="lab")
    figure = go.Figure()
    for name in dict.fromkeys(t.path for t in timings):
        points = [t for t in timings if t.path == name]
        figure.add_scatter(
            x=[t.classes for t in points], y=[t.median_ms for t in points], name=name
        )
    figure.update_xaxes(type="log", title="classes K")
    figure.update_yaxes(type="log", title="milliseconds a step")
    figure.write_html(path)

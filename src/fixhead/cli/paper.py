"""``fixhead paper``: the tables and figures of four papers, run here and held against theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from .options import AsJson, DataDir, Device


def paper(
    paper: Annotated[str, typer.Argument(metavar="PAPER", help="A paper's name, or list.")],
    item: Annotated[
        str | None, typer.Argument(metavar="ITEM", help="Its table or figure.", show_default=False)
    ] = None,
    scale: Annotated[
        str,
        typer.Option(help="full (a GPU), medium (a GPU, minutes) or small (two CPU cores)."),
    ] = "full",
    cells: Annotated[
        str | None,
        typer.Option(
            help="Run these cells only: 2/4 (the second of four shares) or parts of their names.",
            show_default=False,
        ),
    ] = None,
    as_published: Annotated[
        bool,
        typer.Option(
            help="Not the fair protocol but the paper's own: epochs chosen on the test set, the "
            "released code's learning rates."
        ),
    ] = False,
    seeds: Annotated[
        int | None, typer.Option(help="Another number of runs.", show_default=False)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Another number of epochs, to try.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    out: Annotated[Path, typer.Option(help="The folder for runs, tables and pages.")] = Path(
        "papers"
    ),
    keep_models: Annotated[bool, typer.Option(help="Keep the trained models.")] = True,
    processes: Annotated[int, typer.Option(help="Runs at once, each in a process of its own.")] = 1,
    run: Annotated[
        bool, typer.Option(help="--no-run: make the page from the runs that are done.")
    ] = True,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would run; run nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a paper's table or figure and hold it against what the paper printed.

    `fixhead paper list` says what there is. Cells are independent runs: started again with the same
    --out, it carries on and repeats nothing, and items share their runs.
    """
    from .._errors import RequestError
    from ..papers import Request, Way, find, items, perform
    from ..papers.perform import build, name_of
    from ..papers.show import show_items, show_paper
    from ..papers.store import share_of
    from ..runs.records import dumps

    if paper == "list":
        found = [
            {"paper": one.paper, "item": one.name, "title": one.title, "scales": list(one.scales)}
            for one in items()
        ]
        print(dumps(found, indent=2)) if as_json else show_items(found)
        return
    if item is None:
        raise RequestError("ITEM is needed: see `fixhead paper list`")
    chosen = find(paper, item)
    request = Request(_scale(scale), as_published, seeds, epochs)
    if plan:
        names = [cell.name for cell in share_of(build(chosen, request).cells, cells)]
        print(dumps(names, indent=2) if as_json else "\n".join(names))
        return
    way = Way(data_dir, device, cells, keep_models, processes, run)
    results = perform(chosen, request, out, way)
    folder = out / f"{paper}-{scale}" / name_of(chosen, request)
    print(dumps(results, indent=2)) if as_json else show_paper(results, folder)


def _scale(text: str) -> Any:
    from .._errors import RequestError
    from ..papers.item import Scale

    if text not in get_args(Scale):
        raise RequestError(f"--scale must be one of {', '.join(get_args(Scale))}, got {text!r}")
    return text

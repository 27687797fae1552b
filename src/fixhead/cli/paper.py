"""``fixhead paper``: the tables and figures of four papers, run here and held against theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from .options import (
    AsJson,
    DataDir,
    Device,
    Jobs,
    On,
    RunCpus,
    RunGpus,
    RunTimeout,
    Threads,
    use_threads,
    workers_for,
)


def paper(
    paper: Annotated[str, typer.Argument(metavar="PAPER", help="Name the paper, or type list.")],
    item: Annotated[
        str | None,
        typer.Argument(metavar="ITEM", help="Name its table or figure.", show_default=False),
    ] = None,
    scale: Annotated[
        str,
        typer.Option(
            help="Choose full (a GPU), long (the paper's epochs in larger batches), medium "
            "(minutes on a GPU) or small (two CPU cores)."
        ),
    ] = "full",
    cells: Annotated[
        str | None,
        typer.Option(
            help="Run these cells only: 2/4 is the second of four shares, "
            "anything else a part of their names.",
            show_default=False,
        ),
    ] = None,
    as_published: Annotated[
        bool,
        typer.Option(
            help="Follow the paper instead of the fair protocol: choose epochs on the test set, "
            "and take the learning rates of the released code."
        ),
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            help="Run this many seeds instead of the item's own number.", show_default=False
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Train for this many epochs, to try something out.", show_default=False),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Take this many images in a step, and say so on the page.", show_default=False
        ),
    ] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    out: Annotated[Path, typer.Option(help="Keep runs, tables and pages in this folder.")] = Path(
        "papers"
    ),
    keep_models: Annotated[
        bool, typer.Option(help="Keep the trained models, or drop them once they are measured.")
    ] = True,
    threads: Threads = None,
    jobs: Jobs = None,
    processes: Annotated[
        int | None, typer.Option(help="An older name of --jobs.", hidden=True)
    ] = None,
    run_timeout: RunTimeout = None,
    on: On = None,
    run_cpus: RunCpus = None,
    run_gpus: RunGpus = None,
    run: Annotated[
        bool, typer.Option(help="Run what is missing, or only make the page from what is done.")
    ] = True,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would run, and run nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a paper's table or figure and hold it against what the paper printed.

    `fixhead paper list` says what there is. Cells are independent runs: started again with the same
    --out, it carries on and repeats nothing, and items share their runs.
    """
    from .._errors import RequestError
    from ..papers.item import TrainingCell
    from ..papers.recipe import PaperRequest
    from ..papers.registry import build, find, items
    from ..papers.run import RunOptions, name_of, perform, show_items, show_paper
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
    request = PaperRequest(_scale(scale), as_published, seeds, epochs, batch_size)
    wanted = share_of(build(chosen, request).cells, cells)
    if plan:
        names = [cell.name for cell in wanted]
        print(dumps(names, indent=2) if as_json else "\n".join(names))
        return
    use_threads(threads, *{c.comparison.backbone for c in wanted if isinstance(c, TrainingCell)})
    at_once = jobs if processes is None else processes
    workers = workers_for(
        at_once,
        run_timeout,
        device,
        "fixhead.papers.store",
        on=on,
        run_cpus=run_cpus,
        run_gpus=run_gpus,
    )
    options = RunOptions(data_dir, device, cells, keep_models, workers, run)
    results = perform(chosen, request, out, options)
    folder = out / f"{paper}-{scale}" / name_of(chosen, request)
    print(dumps(results, indent=2)) if as_json else show_paper(results, folder)


def _scale(text: str) -> Any:
    from .._errors import RequestError
    from ..papers.recipe import ScaleName

    if text not in get_args(ScaleName):
        raise RequestError(f"--scale must be one of {', '.join(get_args(ScaleName))}, got {text!r}")
    return text

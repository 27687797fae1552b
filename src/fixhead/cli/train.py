"""``fixhead train``: one head, one run, by the engine of ``fixhead compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .._errors import RequestError
from .options import (
    READING,
    AsJson,
    CheckpointEvery,
    Config,
    Threads,
    comparison_of,
    configured,
    use_threads,
)


@configured(
    *("data", "data_dir", "image_size", *READING, "imbalance"),
    *("backbone", "features", "neck", "pretrained"),
    *("epochs", "batch_size", "lr"),
    *("optimizer", "weight_decay", "schedule", "warmup_epochs", "augmentation"),
    *("device", "precision", "compile", "deterministic"),
)
def train(
    chosen: dict[str, Any],
    head: Annotated[str, typer.Option(help="Train this head, a preset or a spec.")] = "auto",
    seed: Annotated[int, typer.Option(help="Draw everything from this seed.")] = 0,
    devices: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Train on this many devices of this machine, a process each, which share every "
            "batch. torchrun with -m fixhead train does so too.",
            show_default=False,
        ),
    ] = None,
    nodes: Annotated[
        int,
        typer.Option(
            min=1,
            help="Train on --devices of each of this many machines; start the command on each, "
            "with MASTER_ADDR, MASTER_PORT and NODE_RANK in its environment.",
        ),
    ] = 1,
    threads: Threads = None,
    out: Annotated[Path, typer.Option(help="Keep records and the model in this folder.")] = Path(
        "run"
    ),
    checkpoint_every: CheckpointEvery = 5.0,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Train one head once, and keep its records and its model.

    The folder is that of a comparison with one arm and one seed: started again with the same
    --out, it carries on where it was stopped, and `fixhead report`, `evaluate` and `predict` take
    it.
    """
    comparison = comparison_of({**chosen, "heads": [head], "seeds": 1, "first_seed": seed})
    from ..comparison.job import compare
    from ..comparison.run import ComparisonRunner
    from ..comparison.terminal import show_run
    from ..runs.layout import RUN_FOLDERS, RUNS_FILE
    from ..runs.records import dumps, read
    from ..training.processes import is_one_of_several, join, launch, processes_here

    fabric, here = None, 1
    if is_one_of_several():
        here = processes_here()
        if devices not in (None, here):
            raise RequestError(f"--devices {devices} among {here} processes; leave it to torchrun")
        fabric = join(comparison.device, comparison.recipe)
    elif (devices or 1) * nodes > 1:
        raise typer.Exit(launch(comparison.device, devices or 1, nodes))
    use_threads(threads, comparison.backbone, processes=here)
    if fabric is not None and fabric.global_rank > 0:
        ComparisonRunner(comparison, out, checkpoint_every, fabric).follow()
        return
    compare(comparison, out, checkpoint_every_s=checkpoint_every, fabric=fabric)
    if fabric is not None:
        fabric.broadcast(None)  # no further run: the others are done
    row = read(out / RUNS_FILE)[-1]
    print(dumps(row, indent=2)) if as_json else show_run(row, out / RUN_FOLDERS / row["run_id"])
    if row["status"] != "done":
        raise typer.Exit(1)

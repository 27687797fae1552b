"""``fixhead train``: one head, one run, by the engine of ``fixhead compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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
    from ..comparison.terminal import show_run
    from ..runs.layout import RUN_FOLDERS, RUNS_FILE
    from ..runs.records import dumps, read

    use_threads(threads, comparison.backbone)
    compare(comparison, out, checkpoint_every_s=checkpoint_every)
    row = read(out / RUNS_FILE)[-1]
    print(dumps(row, indent=2)) if as_json else show_run(row, out / RUN_FOLDERS / row["run_id"])
    if row["status"] != "done":
        raise typer.Exit(1)

"""``fixhead compare``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import (
    READING,
    AsJson,
    CheckpointEvery,
    Config,
    Jobs,
    On,
    RunCpus,
    RunGpus,
    RunTimeout,
    Threads,
    comparison_of,
    configured,
    use_threads,
    workers_for,
)


@configured(
    *("data", "data_dir", "image_size", *READING, "imbalance"),
    *("backbone", "features", "neck", "pretrained"),
    *("heads", "seeds", "first_seed", "epochs", "batch_size", "lr", "tune"),
    *("optimizer", "weight_decay", "schedule", "warmup_epochs", "augmentation"),
    *("sampling", "patience", "ema", "device", "precision", "compile", "deterministic"),
)
def compare(
    chosen: dict[str, Any],
    threads: Threads = None,
    out: Annotated[Path, typer.Option(help="Keep records and the page in this folder.")] = Path(
        "comparison"
    ),
    checkpoint_every: CheckpointEvery = 5.0,
    jobs: Jobs = None,
    run_timeout: RunTimeout = None,
    on: On = None,
    run_cpus: RunCpus = None,
    run_gpus: RunGpus = None,
    dry_run: Annotated[
        bool, typer.Option(help="Say what would run and about how long, and write nothing.")
    ] = False,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Hold the other heads against this one: by default the first learned one.",
            show_default=False,
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            help="Call a head practically equal to that one where an equivalence test shows that "
            "it differs by less than so many points of accuracy: by default 1.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Train several heads on one data set, in pairs, and write records and a page.

    Started again with the same --out, it carries on where it was stopped.
    """
    comparison = comparison_of(chosen)
    from ..comparison.job import compare as run_comparison
    from ..comparison.job import describe_plan
    from ..comparison.terminal import show_outcome, show_plan
    from ..runs.records import dumps

    use_threads(threads, comparison.backbone)
    if dry_run:
        plan = describe_plan(comparison, out, baseline)
        print(dumps(plan, indent=2)) if as_json else show_plan(plan)
        return
    workers = workers_for(
        jobs,
        run_timeout,
        comparison.device,
        "fixhead.comparison.run",
        on=on,
        run_cpus=run_cpus,
        run_gpus=run_gpus,
    )
    results = run_comparison(
        comparison,
        out,
        checkpoint_every_s=checkpoint_every,
        workers=workers,
        baseline=baseline,
        margin=None if margin is None else margin / 100,
    )
    print(dumps(results, indent=2)) if as_json else show_outcome(results, out)
    if any(arm["failed"] for arm in results["arms"]):
        raise typer.Exit(1)

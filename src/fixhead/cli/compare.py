"""``fixhead compare``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    AsJson,
    Augmentation,
    Backbone,
    BatchSize,
    CheckpointEvery,
    Compile,
    Config,
    Data,
    DataDir,
    Deterministic,
    Device,
    Epochs,
    Features,
    ImageSize,
    Imbalance,
    Neck,
    Optimizer,
    Precision,
    Pretrained,
    Schedule,
    Threads,
    WarmupEpochs,
    WeightDecay,
    parse_tune,
    use_threads,
)

_HEADS = "learned-dot,random-dot,learned-cosine@1,random-cosine@1,simplex,hadamard"


def compare(
    data: Data = "digits",
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    imbalance: Imbalance = None,
    backbone: Backbone = "small-cnn",
    features: Features = None,
    neck: Neck = "none",
    pretrained: Pretrained = False,
    heads: Annotated[
        str, typer.Option(help="The arms: presets or specs, separated by commas.")
    ] = _HEADS,
    seeds: Annotated[int, typer.Option(help="Paired runs of every arm.")] = 3,
    first_seed: Annotated[int, typer.Option(help="The number of the first of them.")] = 0,
    epochs: Epochs = 20,
    batch_size: BatchSize = 64,
    lr: Annotated[float, typer.Option(help="The learning rate of every arm.")] = 0.1,
    tune: Annotated[
        str | None,
        typer.Option(
            help="lr=RATE,RATE,…: every arm searches them on validation.", show_default=False
        ),
    ] = None,
    optimizer: Optimizer = "sgd",
    weight_decay: WeightDecay = 5e-4,
    schedule: Schedule = "cosine",
    warmup_epochs: WarmupEpochs = 1.0,
    augmentation: Augmentation = "auto",
    device: Device = "auto",
    threads: Threads = None,
    precision: Precision = "32-true",
    compile_: Compile = False,
    deterministic: Deterministic = False,
    out: Annotated[Path, typer.Option(help="The folder for records and the page.")] = Path(
        "comparison"
    ),
    checkpoint_every: CheckpointEvery = 5.0,
    dry_run: Annotated[
        bool, typer.Option(help="Say what would run and about how long; write nothing.")
    ] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Train several heads on one data set, in pairs, and write records and a page.

    Started again with the same --out, it carries on where it was stopped.
    """
    from ..comparison import Comparison, describe_plan
    from ..comparison import compare as run_comparison
    from ..comparison.show import show_outcome, show_plan
    from ..heads import split_heads
    from ..runs.records import dumps

    use_threads(threads, backbone)
    recipe = {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "optimizer": optimizer,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "warmup_epochs": warmup_epochs,
        "precision": precision,
        "compile": compile_,
        "deterministic": deterministic,
    }
    comparison = Comparison.from_dict(
        {
            "data": data,
            "data_dir": None if data_dir is None else str(data_dir),
            "image_size": image_size,
            "imbalance": imbalance,
            "backbone": backbone,
            "features": features,
            "neck": neck,
            "pretrained": pretrained,
            "heads": split_heads(heads),
            "seeds": seeds,
            "first_seed": first_seed,
            "augmentation": augmentation,
            "tune": parse_tune(tune),
            "device": device,
            "recipe": recipe,
        }
    )
    if dry_run:
        plan = describe_plan(comparison, out)
        print(dumps(plan, indent=2)) if as_json else show_plan(plan)
        return
    results = run_comparison(comparison, out, checkpoint_every_s=checkpoint_every)
    print(dumps(results, indent=2)) if as_json else show_outcome(results, out)
    if any(arm["failed"] for arm in results["arms"]):
        raise typer.Exit(1)

"""``fixhead compare``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..comparison.config import Comparison
from ..training.recipe import Recipe
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
    configured,
    parse_tune,
    use_threads,
)


def compare(
    data: Data = Comparison.data,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    imbalance: Imbalance = None,
    backbone: Backbone = Comparison.backbone,
    features: Features = None,
    neck: Neck = Comparison.neck,
    pretrained: Pretrained = Comparison.pretrained,
    heads: Annotated[str, configured("heads")] = ",".join(Comparison.heads),
    seeds: Annotated[int, configured("seeds")] = Comparison.seeds,
    first_seed: Annotated[int, configured("first_seed")] = Comparison.first_seed,
    epochs: Epochs = Recipe.epochs,
    batch_size: BatchSize = Recipe.batch_size,
    lr: Annotated[float, configured("lr")] = Recipe.lr,
    tune: Annotated[str | None, configured("tune")] = None,
    optimizer: Optimizer = Recipe.optimizer,
    weight_decay: WeightDecay = Recipe.weight_decay,
    schedule: Schedule = Recipe.schedule,
    warmup_epochs: WarmupEpochs = Recipe.warmup_epochs,
    augmentation: Augmentation = Comparison.augmentation,
    device: Device = Comparison.device,
    threads: Threads = None,
    precision: Precision = Recipe.precision,
    compile_: Compile = Recipe.compile,
    deterministic: Deterministic = Recipe.deterministic,
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
    from ..comparison.estimate import describe_plan
    from ..comparison.run import compare as run_comparison
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

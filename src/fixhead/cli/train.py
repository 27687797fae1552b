"""``fixhead train``: one head, one run, by the engine of ``fixhead compare``."""

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
    use_threads,
)


def train(
    data: Data = Comparison.data,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    imbalance: Imbalance = None,
    backbone: Backbone = Comparison.backbone,
    features: Features = None,
    neck: Neck = Comparison.neck,
    pretrained: Pretrained = Comparison.pretrained,
    head: Annotated[str, typer.Option(help="A preset or a spec.")] = "auto",
    seed: Annotated[int, typer.Option(help="The seed of everything that is drawn.")] = 0,
    epochs: Epochs = Recipe.epochs,
    batch_size: BatchSize = Recipe.batch_size,
    lr: Annotated[float, configured("lr")] = Recipe.lr,
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
    out: Annotated[Path, typer.Option(help="The folder for records and the model.")] = Path("run"),
    checkpoint_every: CheckpointEvery = 5.0,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Train one head once, and keep its records and its model.

    The folder is that of a comparison with one arm and one seed: started again with the same
    --out, it carries on where it was stopped, and `fixhead report`, `evaluate` and `predict` take
    it.
    """
    from ..comparison.run import compare
    from ..comparison.show import show_run
    from ..runs.records import dumps, read

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
            "heads": [head],
            "seeds": 1,
            "first_seed": seed,
            "augmentation": augmentation,
            "device": device,
            "recipe": recipe,
        }
    )
    compare(comparison, out, checkpoint_every_s=checkpoint_every)
    row = read(out / "runs.jsonl")[-1]
    print(dumps(row, indent=2)) if as_json else show_run(row, out / "runs" / row["run_id"])
    if row["status"] != "done":
        raise typer.Exit(1)

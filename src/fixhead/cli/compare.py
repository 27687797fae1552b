"""``fixhead compare``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Config, Data, DataDir, Device, Imbalance, parse_tune

_HEADS = "learned-dot,random-dot,learned-cosine@1,random-cosine@1,simplex,hadamard"


def compare(
    data: Data = "digits",
    data_dir: DataDir = None,
    image_size: Annotated[
        int | None, typer.Option(help="Resize the images to this many pixels.", show_default=False)
    ] = None,
    imbalance: Imbalance = None,
    backbone: Annotated[
        str, typer.Option(help="small-cnn, resnet18, timm:NAME or torchvision:NAME.")
    ] = "small-cnn",
    features: Annotated[
        int | None,
        typer.Option(help="Map the features to this size by a linear neck.", show_default=False),
    ] = None,
    neck: Annotated[str, typer.Option(help="none, linear or batchnorm.")] = "none",
    pretrained: Annotated[bool, typer.Option(help="Start from published weights.")] = False,
    heads: Annotated[
        str, typer.Option(help="The arms: presets or sentences, separated by commas.")
    ] = _HEADS,
    seeds: Annotated[int, typer.Option(help="Paired runs of every arm.")] = 3,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 30,
    batch_size: Annotated[int, typer.Option(help="Images in a step.")] = 64,
    lr: Annotated[float, typer.Option(help="The learning rate of every arm.")] = 0.1,
    tune: Annotated[
        str | None,
        typer.Option(
            help="lr=RATE,RATE,…: every arm searches them on validation.", show_default=False
        ),
    ] = None,
    optimizer: Annotated[str, typer.Option(help="sgd, adam or adamw.")] = "sgd",
    weight_decay: Annotated[float, typer.Option(help="Coupled for sgd and adam.")] = 5e-4,
    schedule: Annotated[str, typer.Option(help="cosine, step, plateau or constant.")] = "cosine",
    warmup_epochs: Annotated[float, typer.Option(help="Linear warm-up.")] = 1.0,
    augmentation: Annotated[
        str, typer.Option(help="auto (the data set's own), none, or steps: crop:4,flip,mixup:1.")
    ] = "auto",
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="32-true, bf16-mixed or 16-mixed.")] = "32-true",
    compile_: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    deterministic: Annotated[
        bool, typer.Option(help="Refuse operations without a deterministic form.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The folder for records and the page.")] = Path(
        "comparison"
    ),
    checkpoint_every: Annotated[
        float, typer.Option(help="Seconds between two saves of an unfinished run.")
    ] = 5.0,
    dry_run: Annotated[
        bool, typer.Option(help="Say what would run and about how long; write nothing.")
    ] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Train several heads on one data set, in pairs, and write records and a page.

    Started again with the same --out, it carries on where it was stopped.
    """
    from ..experiments import Comparison, describe_plan
    from ..experiments import compare as run_comparison
    from ..experiments.records import dumps
    from ..experiments.show import show_outcome, show_plan
    from ..heads import split_heads

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

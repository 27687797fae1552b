"""Options that several commands share, and --config."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from .._errors import RequestError


def load_config(context: typer.Context, path: Path | None) -> Path | None:
    """Let a TOML file give the defaults of this command's options; the command line wins."""
    if path is None or context.resilient_parsing:
        return path
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(
            f"--config needs a readable file, got {path}: {error.strerror}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"--config needs TOML, got {path}: {error}") from None
    names = {
        option.lstrip("-").replace("-", "_"): parameter.name
        for parameter in context.command.params
        for option in parameter.opts
        if parameter.name != "config"
    }
    chosen = {name.replace("-", "_"): value for name, value in values.items()}
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        raise RequestError(
            f"--config {path} sets {unknown[0]!r}, which is no option of this command; "
            f"known: {', '.join(sorted(names))}"
        )
    joined = {
        names[name]: ",".join(map(str, value)) if isinstance(value, list) else value
        for name, value in chosen.items()
    }
    context.default_map = {**(context.default_map or {}), **joined}
    return path


Config = Annotated[
    Path | None,
    typer.Option(
        is_eager=True,
        callback=load_config,
        help="A TOML file that sets any of these options; the command line wins.",
        show_default=False,
    ),
]
Data = Annotated[str, typer.Option(help="A data set's name, or an image folder's path.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Where the data set's files lie.", show_default=False)
]
Imbalance = Annotated[
    str | None,
    typer.Option(
        help="Cut a long tail: exp:0.01, step:0.1, geometric:0.5 or counts:FILE.",
        show_default=False,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processor threads; 1 for small-cnn, else all, unless OMP_NUM_THREADS says.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, …")]
ImageSize = Annotated[
    int | None, typer.Option(help="Resize the images to this many pixels.", show_default=False)
]
Backbone = Annotated[str, typer.Option(help="small-cnn, resnet18, timm:NAME or torchvision:NAME.")]
Features = Annotated[
    int | None,
    typer.Option(help="Map the features to this size by a linear neck.", show_default=False),
]
Neck = Annotated[str, typer.Option(help="none, linear or batchnorm.")]
Pretrained = Annotated[bool, typer.Option(help="Start from published weights.")]
Epochs = Annotated[int, typer.Option(help="Passes over the training images.")]
BatchSize = Annotated[int, typer.Option(help="Images in a step.")]
Optimizer = Annotated[str, typer.Option(help="sgd, adam or adamw.")]
WeightDecay = Annotated[float, typer.Option(help="Coupled for sgd and adam.")]
Schedule = Annotated[str, typer.Option(help="cosine, step, plateau or constant.")]
WarmupEpochs = Annotated[float, typer.Option(help="Linear warm-up.")]
Augmentation = Annotated[
    str, typer.Option(help="auto (the data set's own), none, or steps: crop:4,flip,mixup:1.")
]
Precision = Annotated[str, typer.Option(help="32-true, bf16-mixed or 16-mixed.")]
Compile = Annotated[bool, typer.Option("--compile", help="Use torch.compile.")]
Deterministic = Annotated[
    bool, typer.Option(help="Refuse operations without a deterministic form.")
]
CheckpointEvery = Annotated[
    float, typer.Option(help="Seconds between two saves of an unfinished run.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def use_threads(threads: int | None, backbone: str) -> None:
    """Settle how many processor threads this process computes with.

    A step of the small network takes about two milliseconds: on two threads it took half as long
    again as on one, because they wait for each other (measured on two virtual cores).
    """
    import os

    import torch

    if threads is None and backbone == "small-cnn" and "OMP_NUM_THREADS" not in os.environ:
        threads = 1
    if threads is not None:
        torch.set_num_threads(threads)


def split_list(text: str) -> tuple[str, ...]:
    """``"a, b,c"`` → ``("a", "b", "c")``."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_tune(text: str | None) -> tuple[float, ...]:
    """``"lr=0.01,0.1"`` → ``(0.01, 0.1)``."""
    if text is None:
        return ()
    name, equals, rates = text.partition("=")
    if name.strip() != "lr" or not equals:
        raise RequestError(f"--tune must be lr=RATE,RATE,…, got {text!r}")
    try:
        return tuple(float(rate) for rate in split_list(rates))
    except ValueError:
        raise RequestError(f"--tune must be lr=RATE,RATE,… with numbers, got {text!r}") from None

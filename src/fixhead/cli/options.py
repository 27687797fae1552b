"""Options that several commands share, and --config."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from .._errors import RequestError
from ..comparison.config import Comparison
from ..training.recipe import Recipe, help_of


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


def configured(name: str, *flags: str) -> Any:
    """The option of a comparison's or a recipe's field ``name``, with the field's own help."""
    owner = Recipe if hasattr(Recipe, name) else Comparison
    return typer.Option(
        *flags, help=help_of(owner, name), show_default=getattr(owner, name) not in (None, ())
    )


Data = Annotated[str, configured("data")]
DataDir = Annotated[Path | None, configured("data_dir")]
Imbalance = Annotated[str | None, configured("imbalance")]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processor threads; 1 for small-cnn, else all, unless OMP_NUM_THREADS says.",
        show_default=False,
    ),
]
Device = Annotated[str, configured("device")]
ImageSize = Annotated[int | None, configured("image_size")]
Backbone = Annotated[str, configured("backbone")]
Features = Annotated[int | None, configured("features")]
Neck = Annotated[str, configured("neck")]
Pretrained = Annotated[bool, configured("pretrained")]
Epochs = Annotated[int, configured("epochs")]
BatchSize = Annotated[int, configured("batch_size")]
Optimizer = Annotated[str, configured("optimizer")]
WeightDecay = Annotated[float, configured("weight_decay")]
Schedule = Annotated[str, configured("schedule")]
WarmupEpochs = Annotated[float, configured("warmup_epochs")]
Augmentation = Annotated[str, configured("augmentation")]
Precision = Annotated[str, configured("precision")]
Compile = Annotated[bool, configured("compile", "--compile")]
Deterministic = Annotated[bool, configured("deterministic")]
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

"""``fixhead train``: one head, one run, by the engine of ``fixhead compare``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from ..comparison.config import Comparison

IDENTITY = "identity"
GIVEN = ("COMMANDLINE", "DEFAULT_MAP")
"""Where an option's value comes from when somebody said it: here or in --config."""
KEPT = (
    *("data", "image_size", *READING, "imbalance", "backbone", "features", "neck"),
    *("heads", "first_seed"),
)
"""What a model that goes on cannot change."""


@configured(
    *("data", "data_dir", "image_size", *READING, "imbalance"),
    *("backbone", "features", "neck", "pretrained"),
    *("epochs", "batch_size", "lr"),
    *("optimizer", "weight_decay", "schedule", "warmup_epochs", "augmentation"),
    *("sampling", "patience", "ema", "device", "precision", "compile", "deterministic"),
)
def train(
    chosen: dict[str, Any],
    context: typer.Context,
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
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Go on from the chosen weights of this finished folder for --epochs more, into "
            "another --out; what is not said stays as it was there.",
            show_default=False,
        ),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(
            metavar="csv|tensorboard",
            help="Write every epoch's figures into OUT/logs, too.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        bool,
        typer.Option(
            "--reference/--no-reference",
            help="Leave reference.safetensors beside the model: a few training images of every "
            "class as it sees them, for two of the scores of rejection and for the nearest "
            "pictures of fixhead serve.",
        ),
    ] = True,
    outside: Annotated[
        str | None,
        typer.Option(
            help="Choose the score of rejection that tells validation images best from this set "
            "of other classes, a name or a folder; without it, energy.",
            show_default=False,
        ),
    ] = None,
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
    it. Where no --backbone is named, one is taken that fits the size of the images, and why is
    said: small-cnn up to 32 pixels, resnet18 up to 64, timm:resnet18 beyond.
    """
    chosen = {**chosen, "heads": [head], "seeds": 1, "first_seed": seed}
    if resume is not None:
        chosen = _resumed(resume, chosen, context)
    comparison = comparison_of(chosen)
    from ..comparison.job import compare
    from ..comparison.run import ComparisonRunner
    from ..comparison.terminal import ComparisonProgress, show_run
    from ..evaluation.model_folder import Extras
    from ..runs.layout import RUN_FOLDERS, RUNS_FILE
    from ..runs.records import dumps, read
    from ..training.engine import open_log
    from ..training.processes import is_one_of_several, join, launch, processes_here

    fabric, here = None, 1
    if is_one_of_several():
        here = processes_here()
        if devices not in (None, here):
            raise RequestError(f"--devices {devices} among {here} processes; leave it to torchrun")
        fabric = join(comparison.device, comparison.recipe)
    elif (devices or 1) * nodes > 1:
        raise typer.Exit(launch(comparison.device, devices or 1, nodes))
    why = None
    if resume is None and not _is_said(context, "backbone"):
        comparison, why = _with_backbone(comparison, out, context)
    use_threads(threads, comparison.backbone, processes=here)
    if fabric is not None and fabric.global_rank > 0:
        ComparisonRunner(comparison, out, checkpoint_every, fabric).follow()
        return
    progress = ComparisonProgress(log=None if log is None else open_log(log, out / "logs"))
    if why is not None:
        progress.say(f"· {why}")
    compare(
        comparison,
        out,
        progress=progress,
        checkpoint_every_s=checkpoint_every,
        fabric=fabric,
        extras=Extras(reference, outside),
    )
    if fabric is not None:
        fabric.broadcast(None)  # no further run: the others are done
    row = read(out / RUNS_FILE)[-1]
    print(dumps(row, indent=2)) if as_json else show_run(row, out / RUN_FOLDERS / row["run_id"])
    if row["status"] != "done":
        raise typer.Exit(1)


def _is_said(context: typer.Context, option: str) -> bool:
    source = context.get_parameter_source(option)
    return source is not None and source.name in GIVEN


def _with_backbone(
    comparison: Comparison, out: Path, context: typer.Context
) -> tuple[Comparison, str | None]:
    """The comparison with the network that fits its images, and why; in a folder that was begun,
    with the one that it was begun with."""
    from ..comparison.context import (
        FINE_TUNING_RATE,
        load_data,
        refuse_impossible,
        sensible_backbone,
    )
    from ..runs.layout import CONFIG_FILE
    from ..runs.store import read_config

    given = {name for name in ("pretrained", "lr") if _is_said(context, name)}
    if (out / CONFIG_FILE).exists():
        before = read_config(out)["config"]
        took, rate, why = before["backbone"], before["recipe"]["lr"], None
        pretrained = before.get("pretrained", False)
    else:
        # Before any image is decoded, heads are tried on the widest of the networks.
        data = load_data(replace(comparison, backbone="resnet18"))
        chosen = sensible_backbone(data)
        took, pretrained, why = chosen.backbone, chosen.pretrained, chosen.why
        body = took, data.channels, data.image_size
        refuse_impossible(replace(comparison, backbone=took), len(data.classes), body)
        rate = FINE_TUNING_RATE if pretrained else comparison.recipe.lr
        if took == IDENTITY:
            took, why = comparison.backbone, None  # which the comparison itself settles, and says
    if "lr" not in given:
        comparison = replace(comparison, recipe=replace(comparison.recipe, lr=rate))
    if "pretrained" not in given:
        comparison = replace(comparison, pretrained=pretrained)
    return replace(comparison, backbone=took), why


def _resumed(folder: Path, chosen: dict[str, Any], context: typer.Context) -> dict[str, Any]:
    """The options of a finished folder, with those that were said in place of them."""
    from ..runs.layout import RUN_FOLDERS, RUNS_FILE
    from ..runs.records import read
    from ..runs.store import read_config

    config = read_config(folder)["config"]
    done = [row for row in read(folder / RUNS_FILE) if row["status"] == "done"]
    if len(config["heads"]) * config["seeds"] != 1 or len(done) != 1:
        raise RequestError(
            f"--resume needs a folder with one finished run, as `fixhead train` writes, got "
            f"{folder} with {len(done)}; start the command that began it again to finish it"
        )
    before = {**config, **config["recipe"]}
    typed = {"heads": "head", "first_seed": "seed"}
    options = {}
    for name, value in chosen.items():
        source = context.get_parameter_source(typed.get(name, name))
        said = source is not None and source.name in GIVEN
        kept = before.get(name, value if name not in READING else None)
        if said and name in KEPT and value != kept:
            option = typed.get(name, name).replace("_", "-")
            was, came = (one[0] if isinstance(one, list) else one for one in (kept, value))
            raise RequestError(
                f"--{option} of a model that goes on must stay {was}, got {came}; leave it out"
            )
        options[name] = value if said or name not in before else kept
    options["start_from"] = str(folder / RUN_FOLDERS / done[0]["run_id"])
    return options | {"pretrained": False}

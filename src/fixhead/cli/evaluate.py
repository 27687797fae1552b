"""``fixhead evaluate``: everything about a trained model on a test set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Config, DataDir, Device, split_list


def evaluate(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR|MODEL",
            help="A run's folder, its model file, a comparison's folder, or with --architecture "
            "a file of weights.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(help="A data set; by default the one of training.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            help="Another test set with the same classes: a name or a folder; repeatable.",
            show_default=False,
        ),
    ] = None,
    outside: Annotated[
        list[str] | None,
        typer.Option(
            help="A set of other classes, to be told from the test set; repeatable.",
            show_default=False,
        ),
    ] = None,
    corruptions: Annotated[
        str | None,
        typer.Option(help="Kinds by commas; paper, or all.", show_default=False),
    ] = None,
    severities: Annotated[str, typer.Option(help="Of the corruptions.")] = "1,2,3,4,5",
    frost: Annotated[
        Path | None, typer.Option(help="Photographs of frost, for it alone.", show_default=False)
    ] = None,
    corruptions_dir: Annotated[
        Path | None,
        typer.Option(
            help="CIFAR-10-C, CIFAR-100-C or Tiny-ImageNet-C: its pictures instead of ours.",
            show_default=False,
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="The head that others are held against.", show_default=False),
    ] = None,
    projection: Annotated[
        str,
        typer.Option(help="Views of the features: class-plane, pca, tsne, umap; or none."),
    ] = "class-plane,pca",
    architecture: Annotated[
        str | None,
        typer.Option(
            help="For a file of weights: timm:NAME or torchvision:NAME.", show_default=False
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            help="With --architecture: per channel, as in its training; the data's by default.",
            show_default=False,
        ),
    ] = None,
    std: Annotated[str | None, typer.Option(help="Likewise.", show_default=False)] = None,
    image_size: Annotated[
        int | None,
        typer.Option(help="With --architecture: resize to so many pixels.", show_default=False),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images at a time.")] = 256,
    device: Device = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder for evaluation.json and its page; beside the model by default."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an evaluation.json.")] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Measure accuracy, calibration, collapse and geometry of trained models; nothing is trained.

    Writes evaluation.json, and evaluation.html, a page that needs no network. Any timm or
    torchvision classifier with saved weights goes too:
    fixhead evaluate weights.pth --architecture timm:resnet18 --data cifar10
    """
    from .._errors import RequestError
    from ..evaluation.corrupting import Corruptions, parse_kinds
    from ..evaluation.evaluating import Evaluating, evaluate_saved
    from ..evaluation.foreign import Foreign
    from ..evaluation.show_evaluation import show_evaluation
    from ..runs.records import dumps

    chosen = None
    if corruptions is None and corruptions_dir is not None:
        corruptions = "all"
    if corruptions is not None:
        try:
            steps = tuple(int(word) for word in split_list(severities))
        except ValueError:
            raise RequestError(f"--severities must be whole numbers, got {severities!r}") from None
        kinds = parse_kinds(corruptions, frost=frost is not None or corruptions_dir is not None)
        chosen = Corruptions(kinds, steps, frost, corruptions_dir)
    foreign = None
    if architecture is not None:
        foreign = Foreign(architecture, _numbers("--mean", mean), _numbers("--std", std))
    elif mean is not None or std is not None or image_size is not None:
        raise RequestError("--mean, --std and --image-size go with --architecture only")
    wanted = Evaluating(
        model,
        data,
        data_dir,
        tuple(also or ()),
        chosen,
        baseline,
        device,
        batch_size,
        projections=() if projection == "none" else tuple(split_list(projection)),
        outside=tuple(outside or ()),
        foreign=foreign,
        image_size=image_size,
    )
    found = evaluate_saved(
        wanted, out=out, overwrite=overwrite, say=lambda line: print(line, file=sys.stderr)
    )
    print(dumps(found, indent=2)) if as_json else show_evaluation(found)


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    from .._errors import RequestError

    try:
        return None if text is None else tuple(float(word) for word in split_list(text))
    except ValueError:
        raise RequestError(f"{option} must be numbers by commas, got {text!r}") from None

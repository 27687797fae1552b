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
            help="A run's folder, its model file, or a comparison's folder.",
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
    corruptions: Annotated[
        str | None,
        typer.Option(help="Kinds by commas; paper, or all.", show_default=False),
    ] = None,
    severities: Annotated[str, typer.Option(help="Of the corruptions.")] = "1,2,3,4,5",
    frost: Annotated[
        Path | None, typer.Option(help="Photographs of frost, for it alone.", show_default=False)
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="The head that others are held against.", show_default=False),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images at a time.")] = 256,
    device: Device = "auto",
    out: Annotated[
        Path | None,
        typer.Option(help="The folder for evaluation.json; beside the model by default."),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an evaluation.json.")] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Measure accuracy, calibration, collapse and geometry of trained models; nothing is trained.

    Writes evaluation.json.
    """
    from .._errors import RequestError
    from ..experiments.corrupting import Corruptions, parse_kinds
    from ..experiments.evaluating import Evaluating, evaluate_saved
    from ..experiments.records import dumps
    from ..experiments.show_evaluation import show_evaluation

    chosen = None
    if corruptions is not None:
        try:
            steps = tuple(int(word) for word in split_list(severities))
        except ValueError:
            raise RequestError(f"--severities must be whole numbers, got {severities!r}") from None
        kinds = parse_kinds(corruptions, frost=frost is not None)
        chosen = Corruptions(kinds, steps, frost)
    wanted = Evaluating(
        model, data, data_dir, tuple(also or ()), chosen, baseline, device, batch_size
    )
    found = evaluate_saved(
        wanted, out=out, overwrite=overwrite, say=lambda line: print(line, file=sys.stderr)
    )
    print(dumps(found, indent=2)) if as_json else show_evaluation(found)

"""``fixhead export``: a trained model as one file for other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .._errors import RequestError
from .options import AsJson, DataDir

TO = ("onnx", "torch-export", "state-dict")


def export(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR|MODEL", help="Give the folder of a run, or its model.safetensors."
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            metavar="|".join(TO),
            help="Write a file for onnxruntime, a program for torch.export.load, or the tensors by "
            "name for safetensors.",
        ),
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write this file, instead of model.onnx, model.pt2 or state.safetensors beside "
            "the model.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        int, typer.Option(help="Hold the file against the original on so many pictures at most.")
    ] = 1_000,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Take those pictures from this folder, instead of the test set.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Take them from this data set instead of that of training.", show_default=False
        ),
    ] = None,
    data_dir: DataDir = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a trained model as one file that takes pixels and gives calibrated logits.

    It holds normalisation, network, head, temperature and class names. It is kept only if its
    answers are those of the original. fixhead predict takes an ONNX file like a model.
    """
    if to not in TO:
        raise RequestError(f"--to must be one of {', '.join(TO)}, got {to!r}")
    if images is not None and data is not None:
        raise RequestError("--images and --data exclude each other; say one of them")
    from ..evaluation.exported import KINDS, check_pictures
    from ..evaluation.exported import export as write
    from ..evaluation.predict import load
    from ..runs.records import dumps

    opened = load(model)
    path = out or (model if model.is_dir() else model.parent) / KINDS[to]
    pictures = check_pictures(opened.facts, folder=images, data=data, data_dir=data_dir, most=check)
    found = write(opened, to, path, pictures, overwrite=overwrite)
    if as_json:
        print(dumps({"file": str(path), "to": to, **found.to_dict()}, indent=2))
        return
    print(f"{path}: {path.stat().st_size:,} bytes")
    changed = f"{found.changed} ties fall otherwise" if found.changed else "no answer changes"
    print(
        f"its logits differ from the original's by at most {found.largest_difference:.2g} in a "
        f"range of {found.range:.3g}, over {found.images:,} pictures; {changed}",
        file=sys.stdout,
    )

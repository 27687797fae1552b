"""``fixhead predict``: the classes of single pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Device


def predict(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR", help="Give the folder of a run, or its model.safetensors."
        ),
    ],
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGES...", help="Name image files, or folders with images."),
    ],
    top: Annotated[int, typer.Option(help="Show this many classes.")] = 3,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Say what a trained model sees in pictures.

    Probabilities are the softmax of the head's logits: they are as sure as the head's scale.
    """
    import json

    from ..evaluation.predict import predict as predictions

    found = predictions(model, images, top=top, device=device)
    if as_json:
        rows = [one.to_dict() for one in found.predictions]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        for one in found.predictions:
            said = ", ".join(f"{name} {100 * value:.1f} %" for name, value in one.classes)
            print(f"{one.image}: {said}")
    if found.unreadable:
        pictures = len(found.predictions) + len(found.unreadable)
        print(f"{len(found.unreadable)} of {pictures} pictures were passed over:", file=sys.stderr)
        for line in found.unreadable:
            print(f"  {line}", file=sys.stderr)
        raise typer.Exit(1)

"""``fixhead predict``: the classes of single pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._errors import RequestError
from ..data.dataset import Split
from ..data.images import decode
from ..data.sources.folder import find_images
from ..training.engine import resolve_device
from .checkpoints import SavedModel, open_models
from .outputs import probabilities

AT_A_TIME = 64


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of one picture, each with its probability (softmax of the logits)."""

    image: str
    classes: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, object]:
        best, probability = self.classes[0]
        top = [{"class": name, "probability": value} for name, value in self.classes]
        return {"image": self.image, "class": best, "probability": probability, "top": top}


@dataclass(frozen=True)
class Predictions:
    """What a model sees in pictures, in their order, and a sentence on each that it cannot read."""

    predictions: tuple[Prediction, ...]
    unreadable: tuple[str, ...]


def predict(
    path: Path, images: Sequence[Path], *, top: int = 3, device: str = "auto"
) -> Predictions:
    """What the model of a run's folder sees in pictures, and in all pictures of folders.

    Pictures are brought to the model's channels and size as in a folder of training images. One
    that cannot be read is passed over and reported.

    Raises:
        RequestError: no model or several, nothing there, no picture that can be read, ``top``
            below 1.
    """
    if top < 1:
        raise RequestError(f"--top must be 1 or more, got {top}")
    models = open_models(path).models
    if len(models) > 1:
        names = ", ".join(str(Path("runs") / saved.name) for saved in models[:3])
        raise RequestError(
            f"{path} holds {len(models)} models; name the folder of one run: {names}, …"
        )
    files = [file for image in images for file in _files(image)]
    unreadable: list[str] = []
    predictions = tuple(_predictions(models[0], files, top, resolve_device(device), unreadable))
    if not predictions:
        more = f" (and {len(unreadable) - 1} more)" if len(unreadable) > 1 else ""
        raise RequestError(f"{unreadable[0]}{more}")
    return Predictions(predictions, tuple(unreadable))


def _files(image: Path) -> tuple[Path, ...]:
    """The picture, or all pictures below a folder."""
    if image.is_file():
        return (image,)
    if not image.is_dir():
        raise RequestError(f"predict needs image files, got {image}, which is none")
    files, _ = find_images(image)
    if not files:
        raise RequestError(f"predict needs image files, got the folder {image}, which has none")
    return files


def _predictions(
    saved: SavedModel,
    files: Sequence[Path],
    top: int,
    device: torch.device,
    unreadable: list[str],
) -> Iterator[Prediction]:
    names = saved.facts["classes"]
    model = saved.model.to(device)
    readable = _readable(files, saved.facts, unreadable)
    while part := list(islice(readable, AT_A_TIME)):
        unlabelled = Split(np.stack([pixels for _, pixels in part]), np.zeros(len(part), np.int64))
        rows = probabilities(model, saved.batches(unlabelled, device, AT_A_TIME))
        best = rows.topk(min(top, len(names)), dim=1)
        columns = zip(part, best.values.tolist(), best.indices.tolist(), strict=True)
        for (file, _), values, labels in columns:
            classes = zip((names[label] for label in labels), values, strict=True)
            yield Prediction(str(file), tuple(classes))


def _readable(
    files: Sequence[Path], facts: dict[str, Any], unreadable: list[str]
) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    """Each picture with its pixels (C, H, W); what cannot be read is added to ``unreadable``."""
    for file in files:
        try:
            pixels = decode(
                file,
                str(file),
                channels=facts["channels"],
                image_size=facts["image_size"],
                bits=facts.get("bits", 16),
            )
        except RequestError as error:
            unreadable.append(str(error))
        else:
            yield file, pixels

"""``fixhead predict``: the classes of single pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .._errors import RequestError
from ..data import Split
from ..data.images import decode
from ..training import resolve_device
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


def predict(
    path: Path, images: Sequence[Path], *, top: int = 3, device: str = "auto"
) -> list[Prediction]:
    """What the model of a run's folder sees in pictures, in their order.

    Pictures are brought to the model's channels and size as in a folder of training images.

    Raises:
        RequestError: no model or several, a picture that cannot be read, ``top`` below 1.
    """
    if top < 1:
        raise RequestError(f"--top must be 1 or more, got {top}")
    source = open_models(path)
    if len(source.models) > 1:
        names = ", ".join(str(Path("runs") / saved.name) for saved in source.models[:3])
        raise RequestError(
            f"{path} holds {len(source.models)} models; name the folder of one run: {names}, …"
        )
    missing = [str(image) for image in images if not image.is_file()]
    if missing:
        raise RequestError(f"predict needs image files, got {missing[0]}, which is none")
    place = resolve_device(device)
    return list(_predictions(source.models[0], images, top, place))


def _predictions(
    saved: SavedModel, images: Sequence[Path], top: int, device: torch.device
) -> Iterator[Prediction]:
    names, size = saved.facts["classes"], saved.facts["image_size"]
    model = saved.model.to(device)
    for start in range(0, len(images), AT_A_TIME):
        part = images[start : start + AT_A_TIME]
        pixels = np.stack(
            [
                decode(one, str(one), channels=saved.facts["channels"], image_size=size)
                for one in part
            ]
        )
        unknown = Split(pixels, np.zeros(len(part), dtype=np.int64))
        found = probabilities(model, saved.batches(unknown, device, AT_A_TIME))
        best = found.topk(min(top, len(names)), dim=1)
        for image, values, places in zip(
            part, best.values.tolist(), best.indices.tolist(), strict=True
        ):
            classes = zip((names[place] for place in places), values, strict=True)
            yield Prediction(str(image), tuple(classes))

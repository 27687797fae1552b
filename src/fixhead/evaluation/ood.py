"""Out-of-class detection: do images of other classes score lower than the test images?

Two scores: the largest cosine to any class vector, and the energy logsumexp of the head's logits
(``geometry.detection``); AUROC, and the share of outside images that pass where 95 % of the test
images do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._errors import RequestError
from ..data.batches import Batches
from ..data.catalogue import DATASETS, load
from ..data.dataset import Split
from ..data.encoded import Decoding, Files, Streamed
from ..data.sources.folder import find_images
from ..data.sources.hub import is_saved
from ..data.sources.tables import find_parquet
from ..geometry.detection import auroc, energy, fpr_at, largest_cosine
from ..training.model import Classifier
from .checkpoints import SavedModel
from .outputs import eval_mode

RECALL = 0.95


@dataclass(frozen=True)
class OodSet:
    """Images of classes that the models do not know."""

    name: str
    title: str
    split: Split


def load_ood(name: str, facts: dict[str, Any], data_dir: Path | None) -> OodSet:
    """Images of other classes, in the size that the models take.

    All images of a folder, whatever folders they lie in; the test part of any other data set.

    Raises:
        RequestError: no such data, or images of another shape.
    """
    files = () if name in DATASETS else _images_below(Path(name))
    if files:
        pixels = Streamed(
            Files(files), Decoding(facts["image_size"], facts["channels"], facts.get("bits", 16))
        )
        unlabelled = Split(pixels, np.zeros(len(files), dtype=np.int64))
        return OodSet(name, Path(name).resolve().name, unlabelled)
    resizable = name not in DATASETS or DATASETS[name].resizable
    data = load(name, data_dir=data_dir, image_size=facts["image_size"] if resizable else None)
    shape, wanted = (data.channels, data.image_size), (facts["channels"], facts["image_size"])
    if shape != wanted:
        raise RequestError(
            f"--outside {name} needs images of {wanted[0]} channels and {wanted[1]} pixels, as the "
            f"model was trained on, got {shape[0]} and {shape[1]}"
        )
    return OodSet(name, data.title, data.test)


def _images_below(path: Path) -> tuple[Path, ...]:
    """The image files below a folder; none where tables or shards lie in it, which are the data."""
    if not path.is_dir() or is_saved(path) or find_parquet(path) or any(path.glob("*.tar")):
        return ()
    return find_images(path)[0]


def describe_ood(
    others: Sequence[OodSet],
    models: Sequence[SavedModel],
    test: Split,
    device: torch.device,
    batch_size: int,
) -> list[dict[str, Any]]:
    """Every model's detection of each set of other classes."""
    described: list[dict[str, Any]] = [
        {"name": other.name, "title": other.title, "images": len(other.split), "models": []}
        for other in others
    ]
    for saved in models if others else ():
        model = saved.model.to(device)
        known, *rest = (
            scores(model, saved.batches(split, device, batch_size))
            for split in (test, *(other.split for other in others))
        )
        model.to("cpu")
        for entry, other in zip(described, rest, strict=True):
            entry["models"].append(
                {"name": saved.name, "head": saved.head, **detection(known, other)}
            )
    return described


@torch.no_grad()
def scores(model: Classifier, batches: Batches) -> dict[str, Tensor]:
    """Both scores of every image, (N,) each; high for images of the classes that it knows."""
    cosines, energies = [], []
    with eval_mode(model):
        for images, _ in batches.epoch(0):
            points = model.head.project(model.features(images))
            cosines.append(largest_cosine(points, model.head.vectors.detach()))
            energies.append(energy(model.head.classify(points)))
    return {"largest_cosine": torch.cat(cosines).cpu(), "energy": torch.cat(energies).cpu()}


def detection(known: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, Any]:
    """AUROC and false positive rate at 95 % recall, by score."""
    return {
        name: {
            "auroc": float(auroc(known[name], other[name])),
            "fpr_at_95": float(fpr_at(known[name], other[name], recall=RECALL)),
        }
        for name in known
    }

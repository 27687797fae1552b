"""Sets beside the test set: shifted ones of the same classes, and ones of other classes.

A shifted set has its accuracy, with an interval of the drop against the test set. Images are drawn
again and again, the same for every arm: for every draw b, images of either set are drawn with
replacement; all arms are held against the same drawn images, so that the difference of two arms'
drops has its own, paired interval.

    drop_b(arm) = mean_{n ∈ test_b} right(arm, n) − mean_{m ∈ other_b} right(arm, m)

Percentile intervals. Source: Efron & Tibshirani 1993, chapters 13 and 16.

For a set of other classes the question is whether its images score lower than the test images.
Two scores: the largest cosine to any class vector, and the energy logsumexp of the head's logits
(``geometry.detection``); AUROC, and the share of outside images that pass where 95 % of the test
images do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import stream
from ..data.batches import Batches
from ..data.catalogue import DATASETS, load
from ..data.dataset import Split
from ..data.encoded import Decoding, Files, Streamed
from ..data.shifted_sets import ShiftedSet
from ..data.sources.folder import find_images
from ..data.sources.hub import is_saved
from ..data.sources.tables import find_parquet
from ..geometry.detection import auroc, energy, fpr_at, largest_cosine
from ..training.model import Classifier
from .checkpoints import SavedModel
from .outputs import eval_mode

DRAWS = 2_000


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Drops:
    """drop: accuracy on the test set minus that on the other set, of every arm; against: that drop
    minus the first arm's. Positive where accuracy is lost."""

    drop: tuple[Estimate, ...]
    against: tuple[Estimate, ...]


def drops(test: Tensor, other: Tensor, *, seed: int = 0, draws: int = DRAWS) -> Drops:
    """Of right answers (A, N) on the test set and (A, M) on the other one, for A arms.

    An entry is the share of an arm's runs that are right on that image: 0 or 1 for one run.
    """
    values = [part.double() for part in (test, other)]
    lost = values[0].mean(dim=1) - values[1].mean(dim=1)
    generator = stream(seed, "bootstrap")
    first, second = (_means(part, draws, generator) for part in values)
    redrawn = first - second
    return Drops(_estimates(lost, redrawn), _estimates(lost - lost[0], redrawn - redrawn[:, :1]))


def _means(values: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Means over N redrawn images: (A, N) → (draws, A)."""
    number = values.shape[1]
    rows = values.T.contiguous()
    means = []
    for _ in range(draws):
        drawn = torch.randint(number, (number,), generator=generator)
        times = torch.bincount(drawn, minlength=number).double()
        means.append(times @ rows / number)
    return torch.stack(means)


def _estimates(values: Tensor, redrawn: Tensor) -> tuple[Estimate, ...]:
    ends = torch.quantile(redrawn, torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    columns = zip(values.tolist(), *ends.tolist(), strict=True)
    return tuple(Estimate(*column) for column in columns)


def describe_shifted_set(
    shifted: ShiftedSet, arms: Mapping[str, Sequence[tuple[Tensor, Tensor]]]
) -> dict[str, Any]:
    """Every arm on another set: its accuracy, and its drop against the test set.

    ``arms[head]`` has for each run which images it recognises: of the test set, bool (N,), and of
    the other one, (M,). The first arm is the baseline that the others' drops are held against.
    """
    heads = list(arms)
    test, there = (
        torch.stack([torch.stack([run[part].double() for run in arms[h]]).mean(0) for h in heads])
        for part in (0, 1)
    )
    lost = drops(test, there)
    return {
        "name": shifted.name,
        "title": shifted.title,
        "images": len(shifted.split),
        "notes": list(shifted.notes),
        "baseline": heads[0],
        "arms": [
            {
                "head": head,
                "n": len(arms[head]),
                "test_accuracy": float(test[index].mean()),
                "accuracy": float(there[index].mean()),
                "drop": asdict(lost.drop[index]),
                "drop_against_baseline": asdict(lost.against[index]) if index else None,
            }
            for index, head in enumerate(heads)
        ],
    }


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


def detect_ood(
    saved: SavedModel,
    others: Sequence[OodSet],
    test: Split,
    device: torch.device,
    batch_size: int,
) -> list[dict[str, Any]]:
    """A model's detection of each set of other classes."""
    if not others:
        return []
    model = saved.model.to(device)
    known, *rest = (
        scores(model, saved.batches(split, device, batch_size))
        for split in (test, *(other.split for other in others))
    )
    model.to("cpu")
    return [{"name": saved.name, "head": saved.head, **detection(known, one)} for one in rest]


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

"""Trained models on corrupted copies of a test set, the same pixels for every arm.

Accuracy by corruption and severity, and the mean corruption error against a baseline:

    CE_c = Σ_s E_{s,c} / Σ_s E^base_{s,c},    mCE = mean_c CE_c,    E = 1 − accuracy

Source: Hendrycks & Dietterich 2019, section 4.3 (their baseline was AlexNet).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._errors import RequestError, require
from ..data.corruptions.apply import corrupted
from ..data.corruptions.tables import KINDS, PAPER, kind_named, table_for
from ..data.dataset import Dataset, Split
from ..data.shifted_sets import load_published, match_classes, published_place
from .checkpoints import SavedModel
from .outputs import hits

SEVERITIES = (1, 2, 3, 4, 5)
MEMORY_BYTES = 1 << 30
"""Test sets up to this size are corrupted once for all arms; larger ones as they are read."""

CorruptedCopies = Callable[[str, int], Split]
"""The test set under a kind and severity, in the models' labels."""


@dataclass(frozen=True)
class Corruptions:
    """Which kinds, how strong, and from where frost takes its pictures.

    With ``folder`` the pictures are those of a published set (CIFAR-10-C, CIFAR-100-C,
    Tiny-ImageNet-C) instead of the test set's, corrupted here.
    """

    kinds: tuple[str, ...]
    severities: tuple[int, ...] = SEVERITIES
    frost_dir: Path | None = None
    folder: Path | None = None

    def __post_init__(self) -> None:
        wrong = [one for one in self.severities if one not in SEVERITIES]
        if wrong or not self.severities:
            raise RequestError(f"--severities must be numbers from 1 to 5, got {self.severities}")
        if self.folder is not None:
            for kind in self.kinds:
                for severity in self.severities:
                    published_place(self.folder, kind, severity)
        elif "frost" in self.kinds and self.frost_dir is None:
            raise RequestError(
                "--corruptions frost needs --frost DIR, the folder with the photographs of frost; "
                "leave frost out otherwise"
            )


def parse_kinds(text: str, *, frost: bool) -> tuple[str, ...]:
    """``"jpeg,fog"``; ``"paper"``: Shalev et al.'s three; ``"all"``: the 15 (frost only if asked).

    Raises:
        RequestError: an unknown kind, one said twice, or none.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if words == ["all"]:
        return tuple(kind for kind in KINDS if frost or kind != "frost")
    kinds = PAPER if words == ["paper"] else tuple(kind_named(word) for word in words)
    if not kinds or len(set(kinds)) < len(kinds):
        raise RequestError(f"--corruptions must name kinds, each once, got {text!r}")
    return kinds


def copies(
    wanted: Corruptions,
    dataset: Dataset,
    test: Split,
    names: Sequence[str],
    device: torch.device,
) -> CorruptedCopies:
    """``test`` (in the labels of the classes ``names``) corrupted here, or the published copies of
    ``dataset``'s test part with their labels brought to ``names``."""
    folder, frost = wanted.folder, wanted.frost_dir
    if folder is None:
        return lambda kind, severity: _kept(
            corrupted(test, kind, severity, frost_dir=frost, device=device)
        )
    label_map = match_classes(dataset.classes, tuple(names), str(folder))

    def read(kind: str, severity: int) -> Split:
        split = load_published(folder, kind, severity, dataset)
        return _kept(Split(split.images, label_map[split.labels]))

    read(wanted.kinds[0], wanted.severities[0])  # another set's copies are refused at once
    return read


@dataclass(frozen=True)
class JudgedCopy:
    """Every arm on one corrupted copy.

    accuracy: by head, the mean over its runs.
    picture: a corrupted image, its label, and by head the share of the runs that recognise it.
    same_images: whether the copy has the test set's images in their order, so that ``picture`` is
        of the image that was asked for; a published set that was packed anew has its first instead.
    """

    kind: str
    severity: int
    accuracy: dict[str, float]
    picture: dict[str, Any]
    same_images: bool


def judge_copy(
    kind: str,
    severity: int,
    corrupted_copies: CorruptedCopies,
    test: Split,
    models: Sequence[SavedModel],
    heads: Sequence[str],
    *,
    index: int,
    device: torch.device,
    batch_size: int,
) -> JudgedCopy:
    """``index`` says which test image is kept as a picture."""
    split = corrupted_copies(kind, severity)
    rights: dict[str, list[Tensor]] = {head: [] for head in heads}
    for saved in models:
        batches = saved.batches(split, device, batch_size)
        rights[saved.head].append(hits(saved.model.to(device), batches))
        saved.model.to("cpu")
    means = {head: torch.stack(parts).double().mean(0) for head, parts in rights.items()}
    same = np.array_equal(split.labels, test.labels)
    shown = index if same else 0
    picture = {
        "kind": kind,
        "severity": severity,
        "label": int(split.labels[shown]),
        "recognised": {head: float(share[shown]) for head, share in means.items()},
        "image": data_address(split.images[shown]),
    }
    accuracy = {head: float(right.mean()) for head, right in means.items()}
    return JudgedCopy(kind, severity, accuracy, picture, same)


def describe_corruptions(
    wanted: Corruptions,
    judged: Sequence[JudgedCopy],
    test: Split,
    heads: Sequence[str],
    index: int,
) -> dict[str, Any]:
    """Accuracy by kind and severity of every arm, its corruption error against the first of
    ``heads`` (with one head there is nothing to hold it against), and the pictures."""
    table: dict[str, dict[str, dict[int, float]]] = {
        head: {kind: {} for kind in wanted.kinds} for head in heads
    }
    for one in judged:
        for head, rate in one.accuracy.items():
            table[head][one.kind][one.severity] = rate
    baseline = heads[0] if len(heads) > 1 else None
    published = wanted.folder is not None
    return {
        "kinds": list(wanted.kinds),
        "severities": list(wanted.severities),
        "published": wanted.folder.resolve().name if wanted.folder is not None else None,
        "table": None if published else table_for(min(test.images.shape[2:])),
        "seed": None if published else 0,
        "baseline": baseline,
        "arms": [_arm(head, table, baseline) for head in heads],
        "examples": _pictures(judged, test, index),
    }


def _arm(
    head: str, table: dict[str, dict[str, dict[int, float]]], baseline: str | None
) -> dict[str, Any]:
    own = table[head]
    errors = None if baseline is None else corruption_errors(own, table[baseline])
    return {
        "head": head,
        "accuracy": {kind: {str(s): v for s, v in rates.items()} for kind, rates in own.items()},
        "mean_accuracy": mean_accuracy(own),
        "corruption_error": errors,
        "mean_corruption_error": None if errors is None else mean_corruption_error(errors),
    }


def _kept(split: Split) -> Split:
    if int(np.prod(split.images.shape)) > MEMORY_BYTES:
        return split
    return Split(np.asarray(split.images[:]), split.labels)


AccuracyTable = Mapping[str, Mapping[int, float]]
"""Accuracy by kind and severity."""


def corruption_errors(accuracy: AccuracyTable, baseline: AccuracyTable) -> dict[str, float | None]:
    """CE_c of every kind c; None where the baseline makes no mistake."""
    errors: dict[str, float | None] = {}
    for kind, by_severity in accuracy.items():
        own = sum(1 - value for value in by_severity.values())
        base = sum(1 - value for value in baseline[kind].values())
        errors[kind] = own / base if base > 0 else None
    return errors


def mean_corruption_error(errors: Mapping[str, float | None]) -> float | None:
    """mCE over all kinds; None where one of them is undefined."""
    known = [value for value in errors.values() if value is not None]
    return sum(known) / len(known) if known and len(known) == len(errors) else None


def mean_accuracy(accuracy: AccuracyTable) -> float:
    """Over all kinds and severities, each counting the same."""
    values = [value for by_severity in accuracy.values() for value in by_severity.values()]
    return sum(values) / len(values)


PNG_PIXELS = 96


def _pictures(judged: Sequence[JudgedCopy], test: Split, index: int) -> dict[str, Any]:
    """``index``, ``label`` and ``image`` of the uncorrupted picture, where the copies have it; and
    the corrupted ones."""
    before: dict[str, Any] = {"index": None, "label": None, "image": None}
    if all(one.same_images for one in judged):
        before = {
            "index": index,
            "label": int(test.labels[index]),
            "image": data_address(test.images[index]),
        }
    return before | {"pictures": [one.picture for one in judged]}


def data_address(pixels: NDArray[np.uint8]) -> str:
    """uint8 pixels (C, H, W) as a ``data:`` address, which needs no file beside the record.

    PNG up to 96 pixels, JPEG of quality 90 above: noise at 224 pixels takes six times as much as
    PNG.
    """
    pixels = np.asarray(pixels)
    image = require("PIL.Image", extra="lab").fromarray(
        pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    )
    small = max(pixels.shape[1:]) <= PNG_PIXELS
    buffer = io.BytesIO()
    if small:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=90)
    text = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/{'png' if small else 'jpeg'};base64,{text}"

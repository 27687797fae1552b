"""``reference.safetensors``: a few training images of every class, as a trained model sees them.

``fixhead train`` leaves it beside the model. It holds

    features (n, d)     of at most 20 training images a class, evenly spaced in their order
    labels (n,)         their classes
    origin (d,), directions (d, d − D), alpha ()    ViM's residual (``geometry.detection``), from at
                        most 50,000 training images, evenly spaced

and says where the n pictures lie, where each is a file. Features are what the class vectors see,
before a code's map; of heads that see directions only, all statistics are of unit features.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .._errors import RequestError
from .._files import replace_file
from ..data.batches import Batches
from ..data.dataset import Labels, Split
from ..data.encoded import file_of
from ..geometry.detection import Residual, Score, fit_residual, k_nearest, nearest_features, vim
from ..heads.head import ClassificationHead
from ..logits import unit
from ..runs.layout import REFERENCE_FILE, REFERENCE_SCHEMA
from ..training.model import Classifier
from .outputs import eval_mode

A_CLASS = 20
MOST_IMAGES = 50_000
METADATA = "fixhead"
FROM_FEATURES: tuple[Score, ...] = ("k-nearest", "vim")
"""The scores that need it."""


@dataclass(frozen=True)
class Reference:
    """Features (n, d), labels (n,), the residual of ViM, and for each picture its file or None."""

    features: Tensor
    labels: Tensor
    residual: Residual
    files: tuple[Path | None, ...]

    def score(self, name: Score, features: Tensor, logits: Tensor) -> Tensor:
        """``k-nearest`` or ``vim`` of ``seen`` features (N, d) and logits z (N, K) → (N,)."""
        if name == "k-nearest":
            return k_nearest(features, self.features)
        return vim(features, logits, self.residual)

    def nearest(self, features: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Cosines (N, k) and places (N, k) of the nearest training images, the nearest first."""
        return nearest_features(features, self.features, k)

    def to(self, device: torch.device | str) -> Reference:
        """The same on another device."""
        left = self.residual
        moved = Residual(left.origin.to(device), left.directions.to(device), left.alpha)
        return Reference(self.features.to(device), self.labels.to(device), moved, self.files)


def seen(head: ClassificationHead, features: Tensor) -> Tensor:
    """What scores look at: features (N, d) behind the neck and before a code's map, in float32; of
    length 1 where the head sees directions only."""
    rows = (head.project(features) if head.code_map is None else features).float()
    return rows if head.logit_kind == "dot" else unit(rows)


def seen_size(head: ClassificationHead) -> int:
    """d of ``seen`` features."""
    if head.code_map is not None or head.neck_name == "none":
        return head.features
    return head.width


@torch.no_grad()
def reference_of(
    model: Classifier, training: Split, like: Batches, facts: Mapping[str, Any]
) -> Reference:
    """From training images as they are, without augmentation; read in batches as ``like`` are."""
    kept, measured = _few_of_each(training.labels), _evenly(len(training), MOST_IMAGES)
    chosen = np.union1d(kept, measured)
    batches = Batches(
        training.take(chosen), like.batch_size, device=like.device,
        mean=facts["mean"], std=facts["std"], seed=0, shuffle=False,
    )  # fmt: skip
    rows, logits = [], []
    head = model.head
    with eval_mode(model):
        for images, _ in batches.epoch(0):
            features = model.features(images)
            rows.append(seen(head, features).cpu())
            logits.append(head.classify(head.project(features)).float().amax(dim=1).cpu())
    features, largest = torch.cat(rows), torch.cat(logits)
    bias = head.bias if head.code_map is None else None
    of = torch.from_numpy(np.searchsorted(chosen, measured))
    residual = fit_residual(
        features[of],
        largest[of, None],
        None if bias is None else head.vectors.detach().cpu(),
        None if bias is None else bias.detach().cpu(),
    )
    return Reference(
        features[torch.from_numpy(np.searchsorted(chosen, kept))],
        torch.from_numpy(training.labels[kept]),
        residual,
        tuple(file_of(training, int(index)) for index in kept),
    )


def _evenly(number: int, most: int) -> Labels:
    places = np.linspace(0, number - 1, min(number, most))
    return np.unique(places.round().astype(np.int64))


def _few_of_each(labels: Labels) -> Labels:
    """At most 20 of each class, evenly spaced over its images; ascending."""
    order = np.argsort(labels, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    return np.sort(np.concatenate([part[_evenly(len(part), A_CLASS)] for part in parts]))


def save_reference(folder: Path, reference: Reference) -> dict[str, Any]:
    """Write it into a model's folder; what model.json says of it."""
    left, path = reference.residual, folder / REFERENCE_FILE
    tensors = {
        "features": reference.features.contiguous(),
        "labels": reference.labels.contiguous(),
        "origin": left.origin,
        "directions": left.directions,
        "alpha": torch.tensor(left.alpha, dtype=torch.float64),
    }
    known = [str(file) for file in reference.files if file is not None]
    root = Path(os.path.commonpath(known)) if known else Path()
    root = root.parent if root.is_file() else root
    files = [None if one is None else one.relative_to(root).as_posix() for one in reference.files]
    said = {"schema": REFERENCE_SCHEMA, "root": str(root) if known else None, "files": files}
    metadata = {METADATA: json.dumps(said)}
    replace_file(path, lambda draft: save_file(tensors, draft, metadata=metadata))
    return {"images": len(reference.labels), "sha256": _digest(path)}


def read_reference(folder: Path, facts: Mapping[str, Any]) -> Reference | None:
    """The reference of a model's folder; None where its training left none.

    Raises:
        RequestError: a file that is missing, cut off, altered, of another version, or whose
            tensors do not fit one another or the model.
    """
    said, path = facts.get("reference"), folder / REFERENCE_FILE
    if said is None:
        return None
    if not path.is_file():
        raise RequestError(
            f"{folder} holds no {REFERENCE_FILE}, which its model.json tells of; copy it, too"
        )
    if not isinstance(said, dict) or _digest(path) != said.get("sha256"):
        raise RequestError(
            f"{path} does not have the digest that model.json gives: it was cut off or replaced; "
            "copy both files again"
        )
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about = json.loads((file.metadata() or {}).get(METADATA, ""))
    except (SafetensorError, ValueError, KeyError, RuntimeError, RecursionError) as error:
        raise RequestError(f"{path} cannot be read as a reference ({error})") from error
    if not isinstance(about, dict) or about.get("schema") != REFERENCE_SCHEMA:
        schema = about.get("schema") if isinstance(about, dict) else None
        raise RequestError(
            f"{path} has schema {schema!r}, and this version of fixhead reads "
            f"{REFERENCE_SCHEMA!r}; train the model again"
        )
    return _checked(path, tensors, about, len(facts["classes"]))


def _checked(
    path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any], classes: int
) -> Reference:
    def need(condition: bool, what: str) -> None:
        if not condition:
            raise RequestError(f"{path} needs {what}; train the model again")

    names = ("features", "labels", "origin", "directions", "alpha")
    need(all(name in tensors for name in names), f"the tensors {', '.join(names)}")
    features, labels, origin, directions, alpha = (tensors[name] for name in names)
    floating = (features, origin, directions)
    need(all(one.dtype == torch.float32 for one in floating), "features in float32")
    need(features.ndim == 2 and len(features) > 0, "features (n, d)")
    number, size = features.shape
    need(labels.dtype == torch.int64 and labels.shape == (number,), f"labels ({number},)")
    need(bool(((labels >= 0) & (labels < classes)).all()), f"labels below {classes}")
    fits = origin.shape == (size,) and directions.ndim == 2 and len(directions) == size
    need(fits and alpha.numel() == 1, f"statistics of {size} features")
    need(all(bool(one.isfinite().all()) for one in (*floating, alpha)), "finite numbers")
    root, files = about.get("root"), about.get("files")
    files = files if isinstance(files, list) else []
    named = len(files) == number and all(one is None or isinstance(one, str) for one in files)
    need(named and (root is None or isinstance(root, str)), "the files of its pictures")
    paths = tuple(
        None if one is None or root is None else _inside(path, Path(root), one) for one in files
    )
    return Reference(features, labels, Residual(origin, directions, float(alpha)), paths)


def _inside(path: Path, root: Path, name: str) -> Path:
    """A picture's file, which no name may lead out of the folder of the pictures."""
    if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise RequestError(f"{path} names {name!r}, which leads out of the folder of its pictures")
    return root / name


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Trained models as they lie on disk: one run's, or every finished run of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .._errors import RequestError
from ..data.batches import Batches
from ..data.catalogue import DATASETS, load
from ..data.dataset import Dataset, Split
from ..data.reading import Reading
from ..data.shifted_sets import match_classes
from ..runs.layout import RUN_FOLDERS, RUNS_FILE
from ..runs.records import read
from ..runs.store import read_config
from ..training.checkpoints import load_classifier
from ..training.model import Classifier


@dataclass(frozen=True)
class SavedModel:
    """A model with what it says of itself (``model.json``), and its folder, if it has one."""

    name: str
    model: Classifier
    facts: dict[str, Any]
    folder: Path | None = None

    @property
    def head(self) -> str:
        return str(self.facts["head"])

    def batches(self, split: Split, device: torch.device, batch_size: int) -> Batches:
        """Images in their order, normalised as in training."""
        mean, std = self.facts["mean"], self.facts["std"]
        return Batches(split, batch_size, device=device, mean=mean, std=std, seed=0, shuffle=False)


@dataclass(frozen=True)
class SavedModels:
    """The models of a path, and where ``evaluation.json`` belongs.

    ``config`` is the comparison's, where the path is a comparison's folder.
    """

    folder: Path
    models: tuple[SavedModel, ...]
    config: dict[str, Any] | None = None


def open_models(path: Path) -> SavedModels:
    """A run's folder, one of its two model files, or a comparison's folder.

    Raises:
        RequestError: nothing there, no finished run, a file that is cut off, or models of
            different classes or image sizes.
    """
    if not path.exists():
        raise RequestError(
            f"{path} does not exist; name a run's folder, its model.safetensors, or the folder "
            "that `fixhead compare` wrote"
        )
    if path.suffix in (".pt", ".pth", ".bin"):
        raise RequestError(
            f"--architecture is needed for weights alone, got {path} without it; say timm:NAME or "
            "torchvision:NAME"
        )
    if not (path / RUNS_FILE).exists():
        folder = path if path.is_dir() else path.parent
        return SavedModels(folder, (_opened(folder.resolve(), path),))
    config = read_config(path)["config"]
    done = [row["run_id"] for row in read(path / RUNS_FILE) if row["status"] == "done"]
    if not done:
        raise RequestError(f"{path} has no finished run; start `fixhead compare` on it again")
    models = tuple(_opened(path / RUN_FOLDERS / name) for name in done)
    return SavedModels(path, models, config)


def _opened(folder: Path, file: Path | None = None) -> SavedModel:
    """A run's model. One that does not say how it was trained, because it was saved before models
    did, is asked after in the record of its run, where that lies two folders up."""
    model, facts = load_classifier(file or folder)
    records = folder.parent.parent / RUNS_FILE
    if "trained_with" not in facts and folder.parent.name == RUN_FOLDERS and records.exists():
        recorded = {row["run_id"]: row for row in read(records)}.get(folder.name, {})
        known = ("neck", "loss", "config")
        facts["trained_with"] = {k: recorded[k] for k in known if k in recorded} or None
    return checked(SavedModel(folder.name, model, facts, folder))


def checked(saved: SavedModel) -> SavedModel:
    """The same, once its mean and std are known to fit its channels."""
    for name in ("mean", "std"):
        if len(saved.facts.get(name) or ()) != saved.facts["channels"]:
            raise RequestError(
                f"model.json of {saved.name} needs one {name} per channel = "
                f"{saved.facts['channels']}, got {saved.facts.get(name)}"
            )
    return saved


def load_for(
    facts: dict[str, Any],
    data: str | None,
    data_dir: Path | None,
    reading: Reading | None = None,
) -> tuple[Dataset, Split]:
    """The data set (the one of training by default), and its test part in the model's labels.

    Raises:
        RequestError: classes that the model does not know, or images of another shape.
    """
    name = data or facts.get("data")
    if name is None:
        raise RequestError("--data is needed: model.json does not say what the model learned from")
    resizable = name not in DATASETS or DATASETS[name].resizable
    if reading is None or reading == Reading():  # as in training
        reading = Reading(**facts.get("reading", {})) if data is None else Reading()
    size = facts["image_size"] if resizable else None
    dataset = load(name, data_dir=data_dir, image_size=size, reading=reading)
    shape, wanted = (dataset.channels, dataset.image_size), (facts["channels"], facts["image_size"])
    if shape != wanted:
        raise RequestError(
            f"--data {name} needs images of {wanted[0]} channels and {wanted[1]} pixels, as the "
            f"model was trained on, got {shape[0]} and {shape[1]}"
        )
    label_map = match_classes(dataset.classes, tuple(facts["classes"]), f"--data {name}")
    return dataset, Split(dataset.test.images, label_map[dataset.test.labels])

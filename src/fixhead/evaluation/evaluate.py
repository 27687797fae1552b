"""``fixhead evaluate``: everything about trained models on a test set, and on harder ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._errors import RequestError
from .._version import __version__
from ..data.dataset import Dataset, Split
from ..data.reading import Reading
from ..data.shifted_sets import ShiftedSet, load_shifted_set
from ..heads.spec import parse_head
from ..report.evaluation_page import write_evaluation_page
from ..runs.layout import EVALUATION_FILE, EVALUATION_SCHEMA
from ..runs.records import write_json
from ..training.engine import resolve_device
from .checkpoints import SavedModel, SavedModels, load_for, open_models
from .corruptions import CorruptedCopies, Corruptions, copies, corrupted_accuracies
from .details import (
    accuracies,
    describe_calibration,
    describe_classes,
    describe_collapse,
    describe_compactness,
    describe_geometry,
    describe_groups,
    examine,
    never_predicted,
)
from .examples import save_examples
from .ood import OodSet, describe_ood, load_ood
from .projections import DEFAULT as PROJECTIONS
from .projections import MAX_POINTS, check_methods, describe_areas, describe_projections
from .shifted_sets import describe_shifted_set
from .shot_groups import group_accuracies
from .third_party import ThirdPartyWeights, open_third_party

EXAMPLES = "examples"
"""The folder of pictures beside it."""


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate, and on what.

    Args:
        path: a run's folder, a model file, or a comparison's folder (all its finished runs).
        data: a data set with classes that the models know; None for the one of training.
        also: further test sets (``fixhead.data.shifted_sets``).
        outside: sets of other classes, to be told apart (``evaluation.ood``).
        corruptions: which corrupted copies of the test set; None for none.
        projections: how features are shown in two dimensions (``evaluation.projections``).
        third_party: for a file of weights: which timm or torchvision network they are of.
        image_size: the data set's images are resized to it; only with ``third_party``.
        reading: how the data are read; by default as in training.
        baseline: the head that corruption errors and drops are held against; by default a
            comparison's first.
    """

    path: Path
    data: str | None = None
    data_dir: Path | None = None
    also: tuple[str, ...] = ()
    corruptions: Corruptions | None = None
    baseline: str | None = None
    device: str = "auto"
    batch_size: int = 256
    projections: tuple[str, ...] = PROJECTIONS
    outside: tuple[str, ...] = ()
    third_party: ThirdPartyWeights | None = None
    image_size: int | None = None
    reading: Reading = field(default_factory=Reading)


def evaluate_saved(
    request: EvaluationRequest,
    *,
    out: Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """The content of ``evaluation.json``, which is written into ``out`` (by default beside the
    models), with its page ``evaluation.html``.

    Raises:
        RequestError: the file is there and ``overwrite`` is False; models, data or corruptions
            that cannot be had as asked. Nothing is written then.
    """
    if request.batch_size < 1:
        raise RequestError(f"--batch-size must be 1 or more, got {request.batch_size}")
    check_methods(request.projections)
    target = _target(request.path, out, overwrite)
    if request.third_party is None:
        models = open_models(request.path)
    else:
        models = open_third_party(
            request.path,
            request.third_party,
            request.data,
            request.data_dir,
            request.image_size,
            request.reading,
        )
    chosen = [saved.facts["weights"] for saved in models.models if saved.facts.get("weights")]
    notes = [f"evaluated are {words}" for words in chosen]
    for note in notes:
        say(f"{request.path}: {note}; --weights ema or raw says which")
    job = _prepare(request, models, say)
    target.parent.mkdir(parents=True, exist_ok=True)
    record = job.record(target.parent, notes)
    write_json(target, record)
    write_evaluation_page(target.parent)
    return record


def _target(path: Path, out: Path | None, overwrite: bool) -> Path:
    folder = out or (path if path.is_dir() else path.parent)
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"--out must be a folder, got the file {folder}")
    target = folder / EVALUATION_FILE
    if target.exists() and not overwrite:
        raise RequestError(
            f"{target} is there already; say --overwrite to replace it, or name another --out"
        )
    return target


def _prepare(
    request: EvaluationRequest, models: SavedModels, say: Callable[[str], None]
) -> _EvaluationJob:
    """Load the test sets; everything that can be refused is refused here."""
    facts = models.models[0].facts
    if models.config is not None:  # a comparison knows where its data lay
        recorded = models.config.get("data_dir")
        data_dir = request.data_dir or (Path(recorded) if recorded else None)
        request = replace(request, data=request.data or models.config["data"], data_dir=data_dir)
    heads = list(dict.fromkeys(saved.head for saved in models.models))
    if request.baseline is not None and request.baseline not in heads:
        raise RequestError(
            f"--baseline must be one of the heads here ({', '.join(heads)}), "
            f"got {request.baseline!r}"
        )
    if request.baseline is not None:
        heads.sort(key=lambda head: head != request.baseline)
    device = resolve_device(request.device)
    dataset, test = load_for(facts, request.data, request.data_dir, request.reading)
    classes = tuple(facts["classes"])
    same_classes = replace(dataset, classes=classes, train=test, test=test)
    corrupted_copies = None
    shifted = [
        load_shifted_set(name, same_classes, data_dir=request.data_dir) for name in request.also
    ]
    outside = [load_ood(name, facts, request.data_dir) for name in request.outside]
    if request.corruptions is not None:
        corrupted_copies = copies(request.corruptions, dataset, test, classes, device)
    return _EvaluationJob(
        request,
        models.models,
        dataset,
        test,
        classes,
        shifted,
        outside,
        corrupted_copies,
        heads,
        device,
        say,
    )


@dataclass(frozen=True)
class _EvaluationJob:
    """The models with all that they are measured on; ``heads`` begin with the baseline."""

    request: EvaluationRequest
    models: Sequence[SavedModel]
    dataset: Dataset
    test: Split
    classes: Sequence[str]
    shifted: Sequence[ShiftedSet]
    outside: Sequence[OodSet]
    copies: CorruptedCopies | None
    heads: Sequence[str]
    device: torch.device
    say: Callable[[str], None]

    def record(self, folder: Path, notes: Sequence[str] = ()) -> dict[str, Any]:
        """What ``evaluation.json`` holds; pictures that belong to it go into ``folder``."""
        described, right = [], {}
        for saved in self.models:
            entry, right[saved.name] = self._described(saved, folder)
            described.append(entry)
        batch_size = self.request.batch_size
        corruptions = None
        if self.request.corruptions is not None and self.copies is not None:
            corruptions = corrupted_accuracies(
                self.request.corruptions,
                self.copies,
                self.test,
                self.models,
                self.heads,
                clean=torch.stack(list(right.values())).all(dim=0),
                device=self.device,
                batch_size=batch_size,
                say=self.say,
            )
        return {
            "schema": EVALUATION_SCHEMA,
            "fixhead": __version__,
            "data": self.request.data or self.models[0].facts.get("data"),
            "title": self.dataset.title,
            "notes": [*self.dataset.notes, *notes],
            "part": "test",
            "classes": list(self.classes),
            "models": described,
            "corruptions": corruptions,
            "also": [
                describe_shifted_set(one, self.models, self.heads, right, self.device, batch_size)
                for one in self.shifted
            ],
            "outside": describe_ood(self.outside, self.models, self.test, self.device, batch_size),
        }

    def _described(self, saved: SavedModel, folder: Path) -> tuple[dict[str, Any], Tensor]:
        """A model's entry of the record, and which test images (N,) it recognises."""
        model = saved.model.to(self.device)
        head = model.head
        batches = saved.batches(self.test, self.device, self.request.batch_size)
        detail = examine(model, batches, classes=len(self.classes))
        model.to("cpu")
        figures = accuracies(detail.evaluation)
        self.say(f"{saved.name}: {100 * figures['accuracy']:.2f} % of {figures['images']} images")
        groups = saved.facts.get("groups")
        scale = 1.0 if head.scale is None else float(head.scale.detach())
        entry = {
            "name": saved.name,
            **{name: saved.facts.get(name) for name in ("head", "seed", "backbone")},
            "head_sentence": str(parse_head(saved.head)),
            **figures,
            "group_accuracy": (
                None if groups is None else group_accuracies(detail.evaluation.confusion, groups)
            ),
            "calibration": describe_calibration(detail),
            "collapse": describe_collapse(detail),
            "compactness": describe_compactness(detail),
            "never_predicted": never_predicted(detail, self.classes),
            "areas": describe_areas(
                head.vectors, head.logit_kind, bias=head.bias is not None, names=self.classes
            ),
            "geometry": describe_geometry(
                detail.evaluation, head.vectors, construction=head.construction, scale=scale
            ),
            "per_class": describe_classes(detail),
            "groups": None if groups is None else describe_groups(detail, groups),
            "projections": self._projections(saved),
            "examples": save_examples(
                folder, f"{EXAMPLES}/{saved.name}.webp", self.test, detail.evaluation
            ),
        }
        return entry, detail.right

    def _projections(self, saved: SavedModel) -> dict[str, Any] | None:
        """Of images evenly spaced over the test set."""
        if not self.request.projections or saved.model.head.width < 2:
            return None
        chosen = np.arange(0, len(self.test), -(-len(self.test) // MAX_POINTS))
        model = saved.model.to(self.device)
        batches = saved.batches(self.test.take(chosen), self.device, self.request.batch_size)
        views = describe_projections(model, batches, self.request.projections)
        model.to("cpu")
        return views

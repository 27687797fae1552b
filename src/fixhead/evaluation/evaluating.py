"""``fixhead evaluate``: everything about trained models on a test set, and on harder ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._errors import RequestError
from .._version import __version__
from ..data import Dataset, Split
from ..data.shifted_sets import ShiftedSet, load_shifted_set
from ..heads import parse_head
from ..report import write_evaluation_page
from ..runs.layout import EVALUATION_FILE, EVALUATION_SCHEMA
from ..runs.records import write_json
from ..training import resolve_device
from . import (
    accuracies,
    describe_areas,
    describe_calibration,
    describe_collapse,
    describe_compactness,
    describe_geometry,
    drops,
    examine,
    hits,
    never_predicted,
)
from .classwise import describe_classes, describe_groups
from .corrupting import Copies, Corruptions, copies, corrupted_accuracies
from .foreign import Foreign, foreign_source
from .outside import Outside, describe_outside, load_outside
from .projections import DEFAULT as PROJECTIONS
from .projections import MOST_POINTS, check_methods, describe_projections
from .saved import Saved, Source, load_for, open_source
from .saved_examples import save_examples
from .tail import group_accuracies

EXAMPLES = "examples"
"""The folder of pictures beside it."""


@dataclass(frozen=True)
class Evaluating:
    """What to evaluate, and on what.

    Args:
        path: a run's folder, a model file, or a comparison's folder (all its finished runs).
        data: a data set with classes that the models know; None for the one of training.
        also: further test sets (``fixhead.data.shifted_sets``).
        outside: sets of other classes, to be told apart (``experiments.outside``).
        corruptions: which corrupted copies of the test set; None for none.
        projections: how features are shown in two dimensions (``evaluation.projections``).
        foreign: for a file of weights: which timm or torchvision network they are of.
        image_size: the data set's images are resized to it; only with ``foreign``.
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
    foreign: Foreign | None = None
    image_size: int | None = None


def evaluate_saved(
    wanted: Evaluating,
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
    if wanted.batch_size < 1:
        raise RequestError(f"--batch-size must be 1 or more, got {wanted.batch_size}")
    check_methods(wanted.projections)
    target = _target(wanted.path, out, overwrite)
    source = (
        open_source(wanted.path)
        if wanted.foreign is None
        else foreign_source(
            wanted.path, wanted.foreign, wanted.data, wanted.data_dir, wanted.image_size
        )
    )
    work = _prepare(wanted, source, say)
    target.parent.mkdir(parents=True, exist_ok=True)
    found = work.everything(target.parent)
    write_json(target, found)
    write_evaluation_page(target.parent)
    return found


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


def _prepare(wanted: Evaluating, source: Source, say: Callable[[str], None]) -> _Work:
    """Load the test sets; everything that can be refused is refused here."""
    first = source.models[0].facts
    if source.config is not None:  # a comparison knows where its data lay
        kept = source.config.get("data_dir")
        given = wanted.data_dir or (Path(kept) if kept else None)
        data = wanted.data or source.config["data"]
        wanted = replace(wanted, data=data, data_dir=given)
    heads = list(dict.fromkeys(saved.head for saved in source.models))
    if wanted.baseline is not None and wanted.baseline not in heads:
        raise RequestError(
            f"--baseline must be one of the heads here ({', '.join(heads)}), "
            f"got {wanted.baseline!r}"
        )
    if wanted.baseline is not None:
        heads.sort(key=lambda head: head != wanted.baseline)
    device = resolve_device(wanted.device)
    dataset, test = load_for(first, wanted.data, wanted.data_dir)
    names = tuple(first["classes"])
    like = replace(dataset, classes=names, train=test, test=test)
    extras = [load_shifted_set(name, like, data_dir=wanted.data_dir) for name in wanted.also]
    others = [load_outside(name, first, wanted.data_dir) for name in wanted.outside]
    made = None
    if wanted.corruptions is not None:
        made = copies(wanted.corruptions, dataset, test, names, device)
    return _Work(wanted, source, dataset, test, names, extras, others, made, heads, device, say)


@dataclass(frozen=True)
class _Work:
    wanted: Evaluating
    source: Source
    dataset: Dataset
    test: Split
    names: Sequence[str]
    extras: Sequence[ShiftedSet]
    others: Sequence[Outside]
    copies: Copies | None
    heads: Sequence[str]
    device: torch.device
    say: Callable[[str], None]

    def everything(self, folder: Path) -> dict[str, Any]:
        """The record; pictures that belong to it go into ``folder``."""
        models, rights = [], {}
        for saved in self.source.models:
            told, rights[saved.name] = self._examine(saved, folder)
            models.append(told)
        found = {
            "schema": EVALUATION_SCHEMA,
            "fixhead": __version__,
            "data": self.wanted.data or self.source.models[0].facts.get("data"),
            "title": self.dataset.title,
            "notes": list(self.dataset.notes),
            "part": "test",
            "classes": list(self.names),
            "models": models,
            "corruptions": None,
            "also": [self._also(extra, rights) for extra in self.extras],
            "outside": describe_outside(
                self.others, self.source.models, self.test, self.device, self.wanted.batch_size
            ),
        }
        if self.wanted.corruptions is not None and self.copies is not None:
            found["corruptions"] = corrupted_accuracies(
                self.wanted.corruptions,
                self.copies,
                self.test,
                self.source.models,
                self.heads,
                clean=torch.stack(list(rights.values())).all(dim=0),
                device=self.device,
                batch_size=self.wanted.batch_size,
                say=self.say,
            )
        return found

    def _examine(self, saved: Saved, folder: Path) -> tuple[dict[str, Any], torch.Tensor]:
        model = saved.model.to(self.device)
        head = model.head
        batches = saved.batches(self.test, self.device, self.wanted.batch_size)
        detail = examine(model, batches, classes=len(self.names))
        model.to("cpu")
        told = accuracies(detail.evaluation)
        self.say(f"{saved.name}: {100 * told['accuracy']:.2f} % of {told['images']} images")
        groups = saved.facts.get("groups")
        told["group_accuracy"] = (
            None if groups is None else group_accuracies(detail.evaluation.confusion, groups)
        )
        scale = 1.0 if head.scale is None else float(head.scale.detach())
        told |= {
            "calibration": describe_calibration(detail),
            "collapse": describe_collapse(detail),
            "compactness": describe_compactness(detail),
            "never_predicted": never_predicted(detail, self.names),
            "areas": describe_areas(
                head.vectors, head.logit_kind, bias=head.bias is not None, names=self.names
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
        who = {name: saved.facts.get(name) for name in ("head", "seed", "backbone")}
        who["head_sentence"] = str(parse_head(saved.head))
        return {"name": saved.name, **who, **told}, detail.right

    def _projections(self, saved: Saved) -> dict[str, Any] | None:
        """Of images evenly spaced over the test set."""
        if not self.wanted.projections or saved.model.head.width < 2:
            return None
        chosen = np.arange(0, len(self.test), -(-len(self.test) // MOST_POINTS))
        model = saved.model.to(self.device)
        batches = saved.batches(self.test.take(chosen), self.device, self.wanted.batch_size)
        found = describe_projections(model, batches, self.wanted.projections)
        model.to("cpu")
        return found

    def _also(self, extra: ShiftedSet, rights: dict[str, torch.Tensor]) -> dict[str, Any]:
        """Every arm on another set: accuracy, drop against the test set, paired with the first."""
        other = {}
        for saved in self.source.models:
            model = saved.model.to(self.device)
            batches = saved.batches(extra.split, self.device, self.wanted.batch_size)
            other[saved.name] = hits(model, batches)
            model.to("cpu")
        arms = [[s.name for s in self.source.models if s.head == head] for head in self.heads]
        test, there = (
            torch.stack(
                [torch.stack([part[name].double() for name in arm]).mean(0) for arm in arms]
            )
            for part in (rights, other)
        )
        found = drops(test, there)
        return {
            "name": extra.name,
            "title": extra.title,
            "images": len(extra.split),
            "notes": list(extra.notes),
            "baseline": self.heads[0],
            "arms": [
                {
                    "head": head,
                    "n": len(arms[place]),
                    "test_accuracy": float(test[place].mean()),
                    "accuracy": float(there[place].mean()),
                    "drop": asdict(found.drop[place]),
                    "drop_against_baseline": asdict(found.against[place]) if place else None,
                }
                for place, head in enumerate(self.heads)
            ],
        }

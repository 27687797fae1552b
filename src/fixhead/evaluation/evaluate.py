"""``fixhead evaluate``: everything about trained models on a test set, and on harder ones.

Writes ``evaluation.json`` and its page, and prints the record for a person.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor

from .. import measures
from .._errors import RequestError
from .._version import __version__
from ..data.dataset import Dataset, Split
from ..data.reading import Reading
from ..data.shifted_sets import ShiftedSet, load_shifted_set
from ..heads.spec import parse_head
from ..report.evaluation_page import write_evaluation_page
from ..runs.layout import EVALUATION_FILE, EVALUATION_SCHEMA
from ..runs.pool import Tell, Workers
from ..runs.records import Record, write_json
from ..training.engine import resolve_device
from .checkpoints import SavedModel, SavedModels, load_for, open_models
from .corruptions import (
    CorruptedCopies,
    Corruptions,
    JudgedCopy,
    copies,
    describe_corruptions,
    judge_copy,
)
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
from .exported import open_exported
from .further_sets import OodSet, describe_shifted_set, detect_ood, detection, load_ood
from .model_folder import (
    RATES,
    SCORES,
    Calibration,
    Outputs,
    describe_achieved,
    describe_rejected,
    outputs_of,
)
from .outputs import hits
from .projections import DEFAULT as PROJECTIONS
from .projections import MAX_POINTS, check_methods, describe_areas, describe_projections
from .reference import FROM_FEATURES, read_reference
from .shot_groups import group_accuracies
from .third_party import ThirdPartyWeights, open_third_party

EXAMPLES = "examples"
"""The folder of pictures beside it."""


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate, and on what.

    Args:
        path: a run's folder, a model file, an ONNX file of ``fixhead export``, or a comparison's
            folder (all its finished runs).
        data: a data set with classes that the models know; None for the one of training.
        also: further test sets (``fixhead.data.shifted_sets``).
        outside: sets of other classes, to be told apart (``evaluation.further_sets``).
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
    workers: Workers | None = None,
) -> dict[str, Any]:
    """The content of ``evaluation.json``, which is written into ``out`` (by default beside the
    models), with its page ``evaluation.html``. It does not depend on how many ``workers`` measure.

    Raises:
        RequestError: the file is there and ``overwrite`` is False; models, data or corruptions
            that cannot be had as asked. Nothing is written then.
    """
    if request.batch_size < 1:
        raise RequestError(f"--batch-size must be 1 or more, got {request.batch_size}")
    check_methods(request.projections)
    target = _target(request.path, out, overwrite)
    runner = _EvaluationRunner(request, target.parent)
    job = runner.job
    chosen = [saved.facts["weights"] for saved in job.models if saved.facts.get("weights")]
    notes = [f"evaluated are {words}" for words in chosen]
    for note in notes:
        say(f"{request.path}: {note}; --weights ema or raw says which")
    target.parent.mkdir(parents=True, exist_ok=True)
    workers = (workers or Workers()).with_threads(torch.get_num_threads())

    def measure(parts: Sequence[_Part]) -> list[Any]:
        return workers.answers(runner, parts, lambda kind, *facts: say(*facts))

    record = job.record(measure, notes)
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


def _open(request: EvaluationRequest) -> SavedModels:
    if request.path.suffix == ".onnx":
        if request.third_party is not None:
            raise RequestError(
                f"--architecture is for files of weights, got {request.path}; leave it out"
            )
        if request.device not in ("auto", "cpu"):
            raise RequestError(
                f"--device of an ONNX file must be cpu, got {request.device}; leave it out"
            )
        return SavedModels(request.path.parent, (open_exported(request.path),))
    if request.third_party is None:
        return open_models(request.path)
    return open_third_party(
        request.path,
        request.third_party,
        request.data,
        request.data_dir,
        request.image_size,
        request.reading,
    )


def _prepare(request: EvaluationRequest) -> _EvaluationJob:
    """Load the models and the test sets; everything that can be refused is refused here."""
    models = _open(request)
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
    device = resolve_device("cpu" if request.path.suffix == ".onnx" else request.device)
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
    )


@dataclass(frozen=True)
class _Part:
    """What one process measures by itself: a model on all sets but the corrupted ones, or all
    models on one corrupted copy."""

    run_id: str
    model: int | None = None
    copy: tuple[str, int] = ("", 0)
    picture: int = 0


@dataclass(frozen=True)
class _MeasuredModel:
    """A model's entry of the record; which images it recognises, of the test set (N,) and of the
    shifted ones; its detection of other classes. Arrays, which other processes can send."""

    entry: Record
    right: NDArray[np.bool_]
    right_there: tuple[NDArray[np.bool_], ...]
    outside: list[Record]


@dataclass(frozen=True)
class _EvaluationRunner:
    """Measures parts. Models and data are read once; another process reads its own."""

    request: EvaluationRequest
    folder: Path

    @cached_property
    def job(self) -> _EvaluationJob:
        return _prepare(self.request)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "job"}

    def __call__(self, part: _Part, tell: Tell) -> None:
        found: Any
        if part.model is not None:
            found = self.job.measured(self.job.models[part.model], self.folder)
            figures = f"{100 * found.entry['accuracy']:.2f} % of {found.entry['images']} images"
            tell("say", f"{found.entry['name']}: {figures}")
        else:
            found = self.job.judged(*part.copy, part.picture)
            rates = ", ".join(f"{head} {rate:.4f}" for head, rate in found.accuracy.items())
            tell("say", f"{found.kind} {found.severity}: {rates}")
        tell("answer", found)

    def failure(self, part: _Part, reason: str) -> tuple[str, Record]:
        raise RequestError(f"{part.run_id}: {reason}")


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

    def record(
        self, measure: Callable[[Sequence[_Part]], list[Any]], notes: Sequence[str] = ()
    ) -> dict[str, Any]:
        """What ``evaluation.json`` holds; ``measure`` has the parts measured, wherever."""
        found: list[_MeasuredModel] = measure(
            [_Part(saved.name, model=index) for index, saved in enumerate(self.models)]
        )
        return {
            "schema": EVALUATION_SCHEMA,
            "fixhead": __version__,
            "data": self.request.data or self.models[0].facts.get("data"),
            "title": self.dataset.title,
            "notes": [*self.dataset.notes, *notes],
            "part": "test",
            "classes": list(self.classes),
            "models": [one.entry for one in found],
            "corruptions": self._corruptions(measure, found),
            "also": [
                describe_shifted_set(shifted, self._arms(found, place))
                for place, shifted in enumerate(self.shifted)
            ],
            "outside": [
                {"name": other.name, "title": other.title, "images": len(other.split)}
                | {"models": [one.outside[place] for one in found]}
                for place, other in enumerate(self.outside)
            ],
        }

    def _corruptions(
        self, measure: Callable[[Sequence[_Part]], list[Any]], found: Sequence[_MeasuredModel]
    ) -> dict[str, Any] | None:
        """The picture is of the first test image that every run recognises, or of the first."""
        wanted = self.request.corruptions
        if wanted is None:
            return None
        shown = int(np.all([one.right for one in found], axis=0).argmax())
        judged = measure(
            [
                _Part(f"{kind} {severity}", copy=(kind, severity), picture=shown)
                for kind in wanted.kinds
                for severity in wanted.severities
            ]
        )
        return describe_corruptions(wanted, judged, self.test, self.heads, shown)

    def _arms(
        self, found: Sequence[_MeasuredModel], place: int
    ) -> dict[str, list[tuple[Tensor, Tensor]]]:
        arms: dict[str, list[tuple[Tensor, Tensor]]] = {head: [] for head in self.heads}
        for saved, one in zip(self.models, found, strict=True):
            both = torch.from_numpy(one.right), torch.from_numpy(one.right_there[place])
            arms[saved.head].append(both)
        return arms

    def judged(self, kind: str, severity: int, picture: int) -> JudgedCopy:
        """All models on one corrupted copy."""
        assert self.copies is not None
        return judge_copy(
            kind,
            severity,
            self.copies,
            self.test,
            self.models,
            self.heads,
            index=picture,
            device=self.device,
            batch_size=self.request.batch_size,
        )

    def measured(self, saved: SavedModel, folder: Path) -> _MeasuredModel:
        """A model on the test set and on further ones; its pictures go into ``folder``."""
        batch_size = self.request.batch_size
        model = saved.model.to(self.device)
        head = model.head
        batches = saved.batches(self.test, self.device, batch_size)
        detail = examine(model, batches, classes=len(self.classes))
        there = tuple(
            hits(model, saved.batches(shifted.split, self.device, batch_size)).numpy()
            for shifted in self.shifted
        )
        outside = detect_ood(saved, self.outside, self.test, self.device, batch_size)
        confidence = self._confidence(saved, outside)
        model.to("cpu")
        figures = accuracies(detail.evaluation)
        groups = saved.facts.get("groups")
        scale = 1.0 if head.scale is None else float(head.scale.detach())
        entry = {
            "name": saved.name,
            **{name: saved.facts.get(name) for name in ("head", "seed", "backbone")},
            "head_sentence": str(head.spec or parse_head(saved.head)),
            "trained_with": saved.facts.get("trained_with"),
            **figures,
            "group_accuracy": (
                None if groups is None else group_accuracies(detail.evaluation.confusion, groups)
            ),
            "calibration": describe_calibration(detail),
            "confidence": confidence,
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
        return _MeasuredModel(entry, detail.right.numpy(), there, outside)

    def _confidence(self, saved: SavedModel, outside: list[Record]) -> Record | None:
        """What the model's calibration comes to on the test set, and, put into ``outside``, on
        sets of other classes; None where it was not calibrated."""
        calibration = Calibration.of(saved.facts)
        if calibration is None:
            return None
        model = saved.model.to(self.device)
        reference = None if saved.folder is None else read_reference(saved.folder, saved.facts)

        def outputs(split: Split) -> Outputs:
            batches = saved.batches(split, self.device, self.request.batch_size)
            return outputs_of(model, batches, reference)

        known = outputs(self.test)
        for other, entry in zip(self.outside, outside, strict=True):
            there = outputs(other.split)
            scores = {name: (known.others[name], there.others[name]) for name in known.others}
            for name in FROM_FEATURES:
                if name in scores:
                    ours, theirs = scores[name]
                    key = name.replace("-", "_")
                    entry |= detection({key: ours}, {key: theirs})
            entry["rejected"] = describe_rejected(calibration, there)
        return describe_achieved(calibration, known)

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


def show_evaluation(record: Record) -> None:
    """One model part by part, several side by side; then corruptions and further sets."""
    console = Console(highlight=False)
    models = record["models"]
    console.print(f"{record['title']}: {models[0]['images']:,} test images")
    # Names are folded, never cut: their ends tell them apart.
    table = Table("", *(Column(model["name"], overflow="fold") for model in models))
    for title, values in _rows(models):
        table.add_row(title, *values)
    console.print(table)
    if record["corruptions"] is not None:
        console.print(_corruptions(record["corruptions"]))
    for extra in record["also"]:
        console.print(_also(extra))
    for other in record["outside"]:
        console.print(_outside(other))


def _rows(models: list[Record]) -> list[tuple[str, list[str]]]:
    def row(title: str, *path: str, percent: bool = False) -> tuple[str, list[str]]:
        return title, [_shown(_dig(model, *path), percent) for model in models]

    rows = []
    for part in get_args(measures.Part):
        for measure in measures.of_part(part):
            rows.append(row(measure.title, *measure.path, percent=measure.unit == "fraction"))
        if part == "accuracy":
            for name in models[0]["group_accuracy"] or ():
                rows.append(row(f"accuracy, {name}", "group_accuracy", name, percent=True))
    if any(model.get("confidence") for model in models):
        for when in ("before", "after"):
            title = f"calibration error {when} the temperature"
            rows.append(row(title, "confidence", "ece", when, percent=True))
        for place, rate in enumerate(RATES):
            shown = [_rejected(model.get("confidence"), place) for model in models]
            rows.append((f"rejected at {100 * rate:g} %", shown))
    rows.append(row("Spearman ρ, confusion and cosine", "geometry", "spearman", "rho"))
    rows.append(("classes never predicted", [str(len(m["never_predicted"])) for m in models]))
    if any(model["areas"] for model in models):
        gone = [_dig(model, "areas", "vanished") for model in models]
        rows.append(("classes without an area", ["–" if g is None else str(len(g)) for g in gone]))
    return rows


def _rejected(confidence: Record | None, place: int) -> str:
    """The share of the test images that the model's own score rejects."""
    if confidence is None:
        return "–"
    share = confidence["rejected"][place]["share"].get(confidence["score"])
    return f"{_shown(share, True)} by {confidence['score']}"


def _corruptions(record: Record) -> Table:
    compared = record["baseline"] is not None
    title = f"Accuracy under corruption (strengths for {record['table']} pixels)"
    if record["published"] is not None:
        title = f"Accuracy on {record['published']}"
    columns: list[Column | str] = [
        Column("head", overflow="fold"),
        "corruption",
        *(f"severity {one}" for one in record["severities"]),
    ]
    if compared:
        columns.append(f"error against {record['baseline']}")
    table = Table(*columns, title=title)
    for arm in record["arms"]:
        for kind, rates in arm["accuracy"].items():
            error = [_shown(arm["corruption_error"][kind])] if compared else []
            shown = [_shown(value, True) for value in rates.values()]
            table.add_row(arm["head"], kind, *shown, *error)
        mean = ["" for _ in record["severities"][1:]]
        last = [_shown(arm["mean_corruption_error"])] if compared else []
        table.add_row(arm["head"], "mean", _shown(arm["mean_accuracy"], True), *mean, *last)
        table.add_section()
    return table


def _also(extra: Record) -> Table:
    table = Table(
        Column("head", overflow="fold"), "accuracy", "drop, points",
        title=f"{extra['title']}: {extra['images']:,}",
    )  # fmt: skip
    for arm in extra["arms"]:
        drop = {name: f"{100 * value:+.2f}" for name, value in arm["drop"].items()}
        interval = f"{drop['value']} ({drop['low']} to {drop['high']})"
        table.add_row(arm["head"], _shown(arm["accuracy"], True), interval)
    return table


def _outside(other: Record) -> Table:
    table = Table(
        Column("model", overflow="fold"), "score", "AUROC", "accepted at 95 % recall",
        *(f"rejected at {100 * rate:g} %" for rate in RATES),
        title=f"{other['title']}: {other['images']:,} images of other classes",
    )  # fmt: skip
    for model in other["models"]:
        for score in (name for name in SCORES if name.replace("-", "_") in model):
            values = model[score.replace("-", "_")]
            rejected = [one["share"].get(score) for one in model.get("rejected", ())]
            table.add_row(
                model["name"],
                score.replace("-", " "),
                _shown(values["auroc"]),
                _shown(values["fpr_at_95"], True),
                *(_shown(share, True) for share in rejected or [None for _ in RATES]),
            )
    return table


def _dig(record: Any, *path: str) -> Any:
    for name in path:
        record = record.get(name) if isinstance(record, dict) else None
    return record


def _shown(value: float | None, percent: bool = False) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.2f} %" if percent else f"{value:.4g}"

"""What a model folder says beside the weights: how sure its answers are, and a card for people.

``model.json`` gets ``calibration``, measured on the validation images with the chosen weights:

    temperature   T of softmax(z / T) (``geometry.calibration.fit_temperature``)
    images        how many images it was fitted on
    ece           the expected calibration error on them, before and after
    scores        for every score that the folder can give, what the images of the known classes
                  scored, from the lowest: at most 1,001 quantiles, by which pictures are rejected
    score         the one that pictures are rejected by: energy, or the one with the best AUROC
    outside       where there were images of other classes to choose it by: their name and number,
                  and the AUROC of each score

``reference``, the digest of ``reference.safetensors`` (``evaluation.reference``), where that was
asked for, and ``training``, the record of the run; ``README.md`` shows them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from .._errors import RequestError
from .._files import replace_text
from ..data.batches import Batches
from ..data.dataset import Split
from ..geometry.calibration import (
    calibration_sums,
    expected_calibration_error,
    fit_temperature,
)
from ..geometry.detection import Score, auroc, energy
from ..runs.layout import CARD_FILE, REFERENCE_FILE
from ..runs.records import Record
from ..training.checkpoints import save_model
from ..training.model import Classifier
from .further_sets import OodSet, load_ood
from .outputs import eval_mode
from .reference import FROM_FEATURES, Reference, reference_of, save_reference, seen

SCORES: tuple[Score, ...] = get_args(Score)
QUANTILES = 1_001
RECORDED = (
    *("run_id", "loss", "optimizer", "config", "epochs", "best_epoch", "val_accuracy"),
    *("val_balanced_accuracy", "test_accuracy", "test_loss", "balanced_accuracy", "macro_f1"),
    *("per_class_accuracy", "group_accuracy", "skipped_images", "device", "versions", "commit"),
)
"""What model.json repeats of the run's record."""
MOST_LOGITS = 1 << 26
"""Numbers of logits that are held at a time: with more, evenly spaced images stand for all."""


@dataclass(frozen=True)
class Extras:
    """What a model's folder gets beside the model.

    reference: a few training images as the model sees them (``evaluation.reference``).
    outside: images of other classes (a data set or a folder) that choose the score of rejection.
    """

    reference: bool = False
    outside: str | None = None

    def load_outside(self, facts: Mapping[str, Any], data_dir: Path | None) -> OodSet | None:
        """The images of other classes, for a model that takes images as ``facts`` says.

        Raises:
            RequestError: no such data, or images of another shape.
        """
        return None if self.outside is None else load_ood(self.outside, dict(facts), data_dir)


@dataclass(frozen=True)
class Outputs:
    """What a pass over images gives: logits (N, K), labels (N,) and, by name, every score but the
    energy (N,)."""

    logits: Tensor
    labels: Tensor
    others: Mapping[Score, Tensor]

    @property
    def scores(self) -> list[Score]:
        """The scores that there are, in the order of ``SCORES``."""
        return [name for name in SCORES if name == "energy" or name in self.others]

    def score(self, name: Score, temperature: float) -> Tensor:
        """(N,), higher for images that look known."""
        if name == "energy":
            return energy(self.logits, temperature=temperature)
        return self.others[name]


@torch.no_grad()
def outputs_of(model: Classifier, batches: Batches, reference: Reference | None = None) -> Outputs:
    """One pass in evaluation mode, on the CPU at its end; every image, or evenly spaced ones."""
    head = model.head
    every = max(1, math.ceil(len(batches.split) * head.classes / MOST_LOGITS))
    reference = None if reference is None else reference.to(batches.device)
    found: list[list[Tensor]] = []
    names: list[Score] = ["largest-cosine", *(() if reference is None else FROM_FEATURES)]
    start = 0
    with eval_mode(model):
        for images, own in batches.epoch(0):
            first, start = -start % every, start + len(own)
            if first >= len(own):
                continue
            features = model.features(images[first::every])
            points = head.project(features)
            logits = head.classify(points).float()
            row = [logits, own[first::every], largest_cosines(model, points)]
            if reference is not None:
                rows = seen(head, features)
                row += [reference.score(name, rows, logits) for name in FROM_FEATURES]
            found.append(row)
    logits, labels, *others = (torch.cat(parts).cpu() for parts in zip(*found, strict=True))
    return Outputs(logits, labels, dict(zip(names, others, strict=True)))


def largest_cosines(model: Classifier, points: Tensor) -> Tensor:
    """max_j cos(p_n, w_j) of points (N, D) → (N,), without stored vectors where there are none."""
    return model.head.class_vectors.logits(points, "cosine", 1.0, None).amax(dim=1)


def describe_confidence(
    model: Classifier,
    validation: Batches,
    reference: Reference | None = None,
    outside: tuple[str, Batches] | None = None,
) -> dict[str, Any]:
    """The field ``calibration`` of model.json, from images that the model did not learn from.

    ``outside`` are the name and the images of other classes, by which the score is chosen: the one
    with the best AUROC, of equal ones the first of ``SCORES``.
    """
    found = outputs_of(model, validation, reference)
    temperature = fit_temperature(found.logits, found.labels)
    known = {name: found.score(name, temperature) for name in found.scores}
    described: dict[str, Any] = {
        "temperature": temperature,
        "images": len(found.labels),
        "ece": {
            "before": calibration_error(found, 1.0),
            "after": calibration_error(found, temperature),
        },
        "score": "energy",
        "scores": {name: quantiles(scores) for name, scores in known.items()},
    }
    if outside is None:
        return described
    other = outputs_of(model, outside[1], reference)
    areas = {name: float(auroc(known[name], other.score(name, temperature))) for name in known}
    described["score"] = max(areas, key=lambda name: areas[name])
    described["outside"] = {"name": outside[0], "images": len(other.labels), "auroc": areas}
    return described


RATES = (0.01, 0.05, 0.1)
"""Of false rejections, whose thresholds ``evaluate`` tries."""


def describe_achieved(calibration: Calibration, found: Outputs) -> dict[str, Any]:
    """What the temperature and the thresholds of validation come to on other images.

    ece: the expected calibration error, before and after the temperature; rejected: for each of
    ``RATES``, the share of the images that each score's threshold rejects.
    """
    errors = {"before": 1.0, "after": calibration.temperature}
    return {
        "temperature": calibration.temperature,
        "images": len(found.labels),
        "ece": {when: calibration_error(found, at) for when, at in errors.items()},
        "score": calibration.score,
        "rejected": describe_rejected(calibration, found),
    }


def describe_rejected(calibration: Calibration, found: Outputs) -> list[dict[str, Any]]:
    """For each of ``RATES``, the share of the images that each score's threshold rejects."""
    names = [name for name in found.scores if name in calibration.scores]
    scores = {name: found.score(name, calibration.temperature).double() for name in names}
    return [
        {
            "rate": rate,
            "share": {
                name: float((scores[name] < calibration.threshold(rate, name)).double().mean())
                for name in names
            },
        }
        for rate in RATES
    ]


def calibration_error(found: Outputs, temperature: float) -> float:
    """ECE of softmax(z / T) over 15 bins."""
    sums = calibration_sums(found.logits / temperature, found.labels)
    return float(expected_calibration_error(sums))


def quantiles(scores: Tensor) -> list[float]:
    """All scores (N,) from the lowest, or 1,001 of them at even ranks where there are more."""
    ordered = scores.double().sort().values
    if len(ordered) > QUANTILES:
        ordered = ordered[torch.linspace(0, len(ordered) - 1, QUANTILES).round().long()]
    values: list[float] = ordered.tolist()
    return values


@dataclass(frozen=True)
class Calibration:
    """The field ``calibration`` of a model.json, checked."""

    temperature: float
    score: Score
    scores: Mapping[Score, Sequence[float]]

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Calibration | None:
        """None where the model was not calibrated.

        Raises:
            RequestError: the field is not what ``describe_confidence`` writes.
        """
        said = facts.get("calibration")
        if said is None:
            return None
        found = said.get("scores") if isinstance(said, dict) else None
        listed: dict[str, Any] = found if isinstance(found, dict) else {}
        scores: dict[Score, Any] = {name: listed[name] for name in SCORES if name in listed}
        fine = (
            isinstance(said, dict)
            and all(map(_are_scores, scores.values()))
            and isinstance(said.get("score"), str)
            and said["score"] in scores
            and _is_number(said.get("temperature"))
            and said["temperature"] > 0
        )
        if not fine:
            raise RequestError(
                "calibration in model.json needs a temperature above 0, a score and the scores of "
                "validation images from the lowest, got something else; copy the file again, or "
                "train the model again"
            )
        return cls(float(said["temperature"]), said["score"], scores)

    def threshold(self, rate: float, score: Score) -> float:
        """What a picture must score to be of a known class, so that at most the share ``rate`` of
        the validation images (of known classes) falls below.

        Raises:
            RequestError: the model's folder has no such score.
        """
        if score not in self.scores:
            raise RequestError(
                f"--score must be one of {', '.join(self.scores)} for this model, got {score}; "
                "train it again without --no-reference for the others"
            )
        known = self.scores[score]
        return known[math.floor(rate * len(known) + 1e-9)]


def temperature_of(calibration: Calibration | None) -> float:
    """T; 1 where the model was not calibrated."""
    return 1.0 if calibration is None else calibration.temperature


def _are_scores(values: object) -> bool:
    if not isinstance(values, list) or not values or not all(map(_is_number, values)):
        return False
    return all(first <= second for first, second in pairwise(values))


def _is_number(value: object) -> bool:
    kind = isinstance(value, int | float) and not isinstance(value, bool)
    return kind and math.isfinite(value)  # type: ignore[arg-type]


def save_model_folder(
    directory: Path,
    model: Classifier,
    description: Mapping[str, Any],
    record: Record,
    validation: Batches | None,
    *,
    training: Split | None = None,
    outside: OodSet | None = None,
) -> None:
    """Weights, model.json and README.md of a trained model, in place of what lay there.

    ``record`` is the run's; times and pictures stay in runs.jsonl, so that the same run gives the
    same folder. The images of ``training``, if any, become reference.safetensors.
    """
    reference, kept = None, {}
    if training is not None and validation is not None:
        reference = reference_of(model, training, validation, description)
        directory.mkdir(parents=True, exist_ok=True)
        kept = {"reference": save_reference(directory, reference)}
    else:
        (directory / REFERENCE_FILE).unlink(missing_ok=True)
    confidence = None
    if validation is not None:
        other = None if outside is None else (outside.name, _as(validation, outside, description))
        confidence = describe_confidence(model, validation, reference, other)
    facts = dict(description) | {
        "certificate": record["geometry"]["certificate"],
        "calibration": confidence,
        **kept,
        "training": {name: record[name] for name in RECORDED if name in record},
    }
    save_model(directory, model, facts, overwrite=True)
    replace_text(directory / CARD_FILE, model_card(facts))


def _as(like: Batches, other: OodSet, facts: Mapping[str, Any]) -> Batches:
    return Batches(
        other.split, like.batch_size, device=like.device, mean=facts["mean"], std=facts["std"],
        seed=0, shuffle=False,
    )  # fmt: skip


def model_card(facts: Mapping[str, Any]) -> str:
    """README.md: what the model is, what was measured of it, and how to use it; Markdown."""
    training, classes = facts["training"], facts["classes"]
    rows = [
        f"| {title} | {value} |"
        for title, value in [*_measured(training), *_calibrated(facts["calibration"])]
    ]
    shown = ", ".join(f"`{name}`" for name in classes[:20])
    more = f" and {len(classes) - 20} more" if len(classes) > 20 else ""
    size = facts["image_size"]
    kind = "grey" if facts["channels"] == 1 else "colour"
    recipe = ", ".join(f"{name} {value}" for name, value in _recipe(training["config"]))
    versions = ", ".join(f"{name} {value}" for name, value in training["versions"].items())
    return f"""---
library_name: fixhead
pipeline_tag: image-classification
tags: [fixhead, image-classification]
---

# {facts["head"]} on {Path(facts["data"]).name}

An image classifier: the network `{facts["backbone"]}` and the head `{facts["head"]}`, for
{len(classes)} classes ({shown}{more}). It takes {kind} pictures of {size} × {size} pixels; others
have their shorter side brought to {size} and their middle kept.

## Measured

| measure | value |
|---|---|
{chr(10).join(rows)}

{_choice(training["config"])} These figures hold for pictures like the test images; others were not
measured.

## Use

```python
import fixhead
model = fixhead.load("this/folder")
print(model.predict(["picture.jpg"]))
```

    fixhead predict this/folder picture.jpg

## Training

{recipe}; seed {facts["seed"]}; {versions}.
"""


def _choice(config: Mapping[str, Any]) -> str:
    if config.get("choose") == "test":
        return "The epoch was chosen on the test images, which flatters the figures on them."
    return "The test images were looked at once, after training."


def _measured(training: Mapping[str, Any]) -> list[tuple[str, str]]:
    titles = {
        "test_accuracy": "test accuracy",
        "balanced_accuracy": "balanced accuracy",
        "macro_f1": "macro F1",
        "val_accuracy": "validation accuracy",
    }
    rows = [
        (title, f"{100 * training[name]:.2f} %")
        for name, title in titles.items()
        if training.get(name) is not None
    ]
    rows.append(("test cross-entropy, nats", f"{training['test_loss']:.4f}"))
    return [*rows, ("epoch", f"{training['best_epoch']} of {training['epochs']}")]


def _calibrated(calibration: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if calibration is None:
        return [("temperature", "none: no validation images")]
    ece = calibration["ece"]
    other = calibration.get("outside")
    chosen = [
        (
            f"AUROC by {calibration['score']} against {Path(other['name']).name}, which chose it",
            f"{other['auroc'][calibration['score']]:.4f}",
        )
    ] if other else []  # fmt: skip
    return [
        ("temperature", f"{calibration['temperature']:.4g}"),
        (
            f"calibration error on the {calibration['images']:,} validation images, before → after",
            f"{100 * ece['before']:.2f} % → {100 * ece['after']:.2f} %",
        ),
        *chosen,
    ]


def _recipe(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    names = ("epochs", "batch_size", "optimizer", "lr", "weight_decay", "schedule", "augmentation")
    return [(name.replace("_", " "), config[name]) for name in names if name in config]

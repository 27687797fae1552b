"""A classifier from a few words: for a run that begins, and for a saved one that comes back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._errors import RequestError
from .._seeds import stream
from ..backbones import Backbone, build
from ..heads import ClassificationHead, parse_head
from ..runs.layout import MODEL_FACTS_FILE
from .checkpoint import load_model_state, read_description
from .model import Classifier

NEEDED = ("backbone", "channels", "image_size", "features", "neck", "head", "classes")


def classifier(
    backbone: Backbone,
    head: str,
    classes: int,
    *,
    counts: Sequence[int] | Tensor | None,
    seed: int,
) -> Classifier:
    """``backbone`` under the head of that preset or spec, its vectors drawn from ``seed``.

    ``counts`` (K,) are the training images of each class, for heads that follow them.
    """
    layer = ClassificationHead(
        backbone.features,
        classes,
        generator=stream(seed, "vectors"),
        class_counts=counts,
        nonnegative_features=backbone.nonnegative,
        **parse_head(head).arguments(),
    )
    return Classifier(backbone, layer)


def load_classifier(path: Path) -> tuple[Classifier, dict[str, Any]]:
    """The model that lies in a run's folder (or is one of its two files), and its description.

    Built anew as ``model.json`` describes it, then given the saved weights, in evaluation mode.

    Raises:
        RequestError: files missing, cut off or not belonging together, or a description that lacks
            something or describes no model.
    """
    directory = path.parent if path.suffix in (".json", ".safetensors") else path
    facts = read_description(directory)
    missing = [name for name in NEEDED if name not in facts]
    if missing:
        raise RequestError(
            f"{directory / MODEL_FACTS_FILE} does not say the model's {missing[0]}, which is "
            "needed to build it; save the model by `fixhead compare` or `fixhead train`"
        )
    try:
        model = _built(facts)
    except RequestError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise RequestError(
            f"{directory / MODEL_FACTS_FILE} describes no model that can be built: {error}"
        ) from error
    load_model_state(directory, model)
    return model.eval(), facts


def _built(facts: dict[str, Any]) -> Classifier:
    seed = int(facts.get("seed", 0))
    backbone = build(
        facts["backbone"],
        channels=facts["channels"],
        image_size=facts["image_size"],
        features=facts["features"],
        neck=facts["neck"],
        seed=seed,
    )
    counts = facts.get("training_counts")
    return classifier(
        backbone,
        facts["head"],
        len(facts["classes"]),
        counts=None if counts is None else torch.tensor(counts),
        seed=seed,
    )

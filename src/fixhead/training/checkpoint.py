"""A trained model on disk: ``model.safetensors`` for the weights, ``model.json`` for what it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .._errors import RequestError
from .._files import replace_file
from ..heads.state import check_identity
from ..runs.layout import MODEL_FACTS_FILE, MODEL_FILE, MODEL_SCHEMA
from ..runs.records import write_json
from .model import Classifier
from .run import copy_of_weights


def save_model(
    directory: Path, model: Classifier, description: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """Write the weights, and ``description`` (plain JSON) with the weights' digest, into a folder.

    Raises:
        RequestError: a model lies there already, and ``overwrite`` is False.
    """
    weights, facts = directory / MODEL_FILE, directory / MODEL_FACTS_FILE
    if not overwrite and (weights.exists() or facts.exists()):
        raise RequestError(f"{directory} holds a model already; name another folder")
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in copy_of_weights(model).items()}
    replace_file(weights, lambda draft: save_file(tensors, draft))
    content = {"schema": MODEL_SCHEMA, "sha256": _digest(weights), "description": dict(description)}
    write_json(facts, content)


def read_description(directory: Path) -> dict[str, Any]:
    """What ``save_model`` was told about the model.

    Raises:
        RequestError: there is no model, or none of fixhead's.
    """
    description: dict[str, Any] = _read(directory)["description"]
    return description


def load_model_state(directory: Path, model: Classifier) -> None:
    """Put the saved weights into ``model``; a model of another construction stays untouched.

    Raises:
        RequestError: files missing, cut off or not belonging together; other names or shapes; or a
            head of another construction, or with other frozen vectors, than the one saved.
    """
    stored = _weights(directory)
    # Before anything is copied, and the head first: it names constructions, not tensors.
    if "head._extra_state" in stored:
        check_identity(stored["head._extra_state"], model.head.identity, stored.get("head.vectors"))
    _check_fit(directory, stored, model)
    model.load_state_dict(stored)


def _weights(directory: Path) -> dict[str, Tensor]:
    path = directory / MODEL_FILE
    facts = _read(directory)
    if not path.exists():
        raise RequestError(f"{directory} holds no {MODEL_FILE}; name the folder of a saved model")
    if _digest(path) != facts["sha256"]:
        raise RequestError(
            f"{path} does not have the digest that {MODEL_FACTS_FILE} gives: it was cut off or "
            "replaced; copy both files again"
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise RequestError(f"{path} cannot be read as safetensors ({error})") from error


def _check_fit(directory: Path, stored: Mapping[str, Tensor], model: Classifier) -> None:
    own = model.state_dict()
    missing, unexpected = sorted(own.keys() - stored.keys()), sorted(stored.keys() - own.keys())
    if missing or unexpected:
        which = f"lacks {missing[0]}" if missing else f"holds {unexpected[0]} besides"
        raise RequestError(
            f"{directory / MODEL_FILE} was saved from another model than this one: it {which}; "
            f"build the model as {MODEL_FACTS_FILE} describes it"
        )
    for name, tensor in own.items():
        if name.endswith("_extra_state"):  # a description in bytes; the head itself compares it
            continue
        if stored[name].shape != tensor.shape:
            raise RequestError(
                f"{directory / MODEL_FILE} holds {name} {tuple(stored[name].shape)}, and this "
                f"model has it {tuple(tensor.shape)}; build the model as {MODEL_FACTS_FILE} "
                "describes it"
            )


def _read(directory: Path) -> dict[str, Any]:
    path = directory / MODEL_FACTS_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestError(
            f"{directory} holds no {MODEL_FACTS_FILE}; name the folder of a saved model"
        ) from None
    except ValueError:
        facts = None
    if not isinstance(facts, dict) or facts.get("schema") != MODEL_SCHEMA:
        raise RequestError(f"{path} was needed with schema {MODEL_SCHEMA!r}; it is something else")
    return facts


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

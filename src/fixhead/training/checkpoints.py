"""What a run leaves on disk: its model, its history, and, while it lasts, where it stands.

``model.safetensors`` holds the weights, ``model.json`` what they are of; ``history.jsonl`` a row
per epoch; ``checkpoint/state.pt`` all that a stopped run needs to go on, removed when it is done.
"""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from .._errors import RequestError
from .._files import remove_drafts, replace_file
from ..backbones.registry import build
from ..heads.spec import parse_head
from ..heads.state import check_identity
from ..runs.layout import (
    CHECKPOINT_FOLDER,
    CHECKPOINT_SCHEMA,
    HISTORY_FILE,
    MODEL_FACTS_FILE,
    MODEL_FILE,
    MODEL_SCHEMA,
)
from ..runs.records import Record, append, rewrite, write_json
from .model import Classifier, build_classifier, weights_on_cpu

NEEDED = ("backbone", "channels", "image_size", "features", "neck", "head", "classes")
"""What model.json must say for the model to be built again."""

LARGEST_SIZE = 1 << 20
"""Pixels, channels and features up to this are believed of a model.json."""


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
    tensors = _to_save(model)
    replace_file(weights, lambda draft: save_file(tensors, draft))
    content = {"schema": MODEL_SCHEMA, "sha256": _digest(weights), "description": dict(description)}
    if model.head.spec is not None:  # what a head that was left to auto came to
        content["head_spec"] = str(model.head.spec)
    write_json(facts, content)


def weights_digest(model: Classifier) -> str:
    """SHA-256 of the model.safetensors that ``save_model`` makes of the model."""
    return hashlib.sha256(save(_to_save(model))).hexdigest()


def _to_save(model: Classifier) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in weights_on_cpu(model).items()}


def read_description(directory: Path) -> dict[str, Any]:
    """What ``save_model`` was told about the model.

    Raises:
        RequestError: there is no model, or none of fixhead's.
    """
    description: dict[str, Any] = _model_facts(directory)["description"]
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
        said = stored["head._extra_state"]
        if said.ndim != 1 or said.dtype != torch.uint8:
            raise RequestError(f"{directory / MODEL_FILE} needs bytes in head._extra_state")
        check_identity(said, model.head.identity, stored.get("head.vectors"))
    _check_fit(directory, stored, model)
    model.load_state_dict(stored)


def _weights(directory: Path) -> dict[str, Tensor]:
    path = directory / MODEL_FILE
    facts = _model_facts(directory)
    if not path.exists():
        raise RequestError(f"{directory} holds no {MODEL_FILE}; name the folder of a saved model")
    if _digest(path) != facts["sha256"]:
        raise RequestError(
            f"{path} does not have the digest that {MODEL_FACTS_FILE} gives: it was cut off or "
            "replaced; copy both files again"
        )
    try:
        return load_file(path)
    except (SafetensorError, KeyError, AttributeError, TypeError, RuntimeError) as error:
        # A header may also name a type that this torch does not have.
        raise RequestError(f"{path} cannot be read as safetensors ({error})") from error


def _check_fit(directory: Path, stored: Mapping[str, Tensor], model: Classifier) -> None:
    expected = model.state_dict()
    missing, unexpected = (
        sorted(expected.keys() - stored.keys()),
        sorted(stored.keys() - expected.keys()),
    )
    if missing or unexpected:
        which = f"lacks {missing[0]}" if missing else f"holds {unexpected[0]} besides"
        raise RequestError(
            f"{directory / MODEL_FILE} was saved from another model than this one: it {which}; "
            f"build the model as {MODEL_FACTS_FILE} describes it"
        )
    for name, tensor in expected.items():
        if name.endswith("_extra_state"):  # a description in bytes; the head itself compares it
            continue
        if stored[name].shape != tensor.shape:
            raise RequestError(
                f"{directory / MODEL_FILE} holds {name} {tuple(stored[name].shape)}, and this "
                f"model has it {tuple(tensor.shape)}; build the model as {MODEL_FACTS_FILE} "
                "describes it"
            )
        if stored[name].dtype != tensor.dtype:
            raise RequestError(
                f"{directory / MODEL_FILE} holds {name} in {stored[name].dtype}, and this model "
                f"has it in {tensor.dtype}; save the model again without converting it"
            )


def _model_facts(directory: Path) -> dict[str, Any]:
    path = directory / MODEL_FACTS_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestError(
            f"{directory} holds no {MODEL_FACTS_FILE}; name the folder of a saved model"
        ) from None
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError):
        facts = None
    schema = facts.get("schema") if isinstance(facts, dict) else None
    if schema == MODEL_SCHEMA and isinstance(facts.get("description"), dict) and "sha256" in facts:
        return cast(dict[str, Any], facts)
    kind, _, number = str(schema).partition("/")
    if kind == MODEL_SCHEMA.partition("/")[0] and number.isdecimal() and schema != MODEL_SCHEMA:
        raise RequestError(
            f"{path} has schema {schema!r} of another version of fixhead, and this one reads "
            f"{MODEL_SCHEMA!r}; install the fixhead that wrote it"
        )
    raise RequestError(f"{path} was needed with schema {MODEL_SCHEMA!r}; it is something else")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_classifier(path: Path) -> tuple[Classifier, dict[str, Any]]:
    """The model that lies in a run's folder (or is one of its two files), and its description.

    Built anew as ``model.json`` describes it, then given the saved weights, in evaluation mode.

    Raises:
        RequestError: files missing, cut off or not belonging together, or a description that lacks
            something or describes no model.
    """
    directory = path.parent if path.suffix in (".json", ".safetensors") else path
    facts = read_description(directory)
    check_description(directory / MODEL_FACTS_FILE, facts)
    try:
        model = _build(facts, _head_spec(directory, facts["head"]))
    except RequestError:
        raise
    except Exception as error:  # libraries break in their own ways on what they cannot build
        raise RequestError(
            f"{directory / MODEL_FACTS_FILE} describes no model that can be built: {error}"
        ) from error
    load_model_state(directory, model)
    return model.eval(), facts


def check_description(path: Path, facts: Mapping[str, Any]) -> None:
    """Refuse a description that lacks something, or whose parts are of the wrong kind."""
    missing = [name for name in NEEDED if name not in facts]
    if missing:
        raise RequestError(
            f"{path} does not say the model's {missing[0]}, which is needed to build it; save the "
            "model by `fixhead compare` or `fixhead train`"
        )

    def need(condition: bool, name: str, what: str) -> None:
        if not condition:
            said = repr(facts[name])
            shown = said if len(said) <= 60 else f"{said[:60]}…"
            raise RequestError(f"{path} needs {what} as the model's {name}, got {shown}")

    for name in ("backbone", "neck", "head"):
        need(isinstance(facts[name], str), name, "a name")
    for name in ("channels", "image_size"):
        need(_is_size(facts[name]), name, f"a whole number from 1 to {LARGEST_SIZE}")
    need(facts["features"] is None or _is_size(facts["features"]), "features", "null or a size")
    names = facts["classes"]
    plain = isinstance(names, list) and all(isinstance(name, str) for name in names)
    need(plain and len({*names}) == len(names) >= 2, "classes", "two or more different names")
    for name in ("mean", "std"):
        values = facts.get(name)
        if values is not None:
            low = -math.inf if name == "mean" else 0.0
            fine = isinstance(values, list) and all(_is_number(one) and one > low for one in values)
            need(fine, name, "finite numbers" if name == "mean" else "numbers above 0")


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_SIZE


def _is_number(value: object) -> bool:
    kind = isinstance(value, int | float) and not isinstance(value, bool)
    return kind and math.isfinite(value)  # type: ignore[arg-type]


def _head_spec(directory: Path, head: str) -> str:
    """The head as it was saved, whatever ``auto`` takes today.

    Models were saved without their head's spec before ``auto`` followed a table.
    """
    asked = parse_head(head)
    if asked.logits != "auto":
        return head
    first = replace(asked, logits="cosine", neck="none", loss="cross-entropy", initial="own")
    return str(_model_facts(directory).get("head_spec", first))


def _build(facts: dict[str, Any], head: str) -> Classifier:
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
    return build_classifier(
        backbone,
        head,
        len(facts["classes"]),
        counts=None if counts is None else torch.tensor(counts),
        seed=seed,
    )


class HistoryFile:
    """``RUN_DIR/history.jsonl``; nothing is written where there is no run folder."""

    def __init__(self, run_dir: Path | None) -> None:
        self._path = None if run_dir is None else run_dir / HISTORY_FILE

    def rewrite(self, rows: Sequence[Record]) -> None:
        """Exactly these rows: what an earlier process wrote past its checkpoint is dropped."""
        if self._path is not None:
            rewrite(self._path, rows)

    def append(self, row: Record) -> None:
        if self._path is not None:
            append(self._path, row, sync=False)  # a checkpoint, not this file, carries the run on


class RunCheckpoint:
    """``RUN_DIR/checkpoint/state.pt``: everything a run needs to go on from an epoch's end.

    Args:
        run_dir: the run's folder; None keeps nothing.
        identity: what must agree between the run that saved and the run that goes on.
        every_s: seconds between two saves, so that short runs spend no time on them.
    """

    def __init__(self, run_dir: Path | None, identity: Mapping[str, Any], every_s: float) -> None:
        self._path = None if run_dir is None else run_dir / CHECKPOINT_FOLDER / "state.pt"
        self._identity = {"format": CHECKPOINT_SCHEMA, **identity}
        self._every_s = every_s
        self._saved_at = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to save again."""
        return self._path is not None and time.monotonic() - self._saved_at >= self._every_s

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep ``state`` in place of what was kept before; nothing without a run folder."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = {"identity": self._identity, **state}
        replace_file(self._path, lambda draft: torch.save(content, draft))
        self._saved_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The saved state, on the CPU, or None where the run starts anew.

        Raises:
            RequestError: the file cannot be read, or belongs to another run.
        """
        if self._path is None or not self._path.exists():
            return None
        state = _read_checkpoint(self._path)
        self._check(state.pop("identity"))
        return state

    def remove(self) -> None:
        """The run is done: nothing is left to carry on."""
        if self._path is None:
            return
        self._path.unlink(missing_ok=True)
        remove_drafts(self._path)
        if self._path.parent.is_dir() and not any(self._path.parent.iterdir()):
            self._path.parent.rmdir()

    def _check(self, theirs: Mapping[str, Any]) -> None:
        for name in {**self._identity, **theirs}:
            ours = self._identity.get(name)
            if theirs.get(name) != ours:
                assert self._path is not None
                raise RequestError(
                    f"{self._path} belongs to a run with {name} = {theirs.get(name)!r}, and this "
                    f"one has {ours!r}; name another folder, or delete that file to start anew"
                )


def _read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError) as error:
        reason = str(error).partition("\n")[0] or "it ends too early"
        raise RequestError(
            f"{path} cannot be read as a checkpoint ({reason}); delete it to start the run anew"
        ) from error
    if not isinstance(state, dict) or "identity" not in state:
        raise RequestError(f"{path} is no checkpoint of fixhead; delete it to start the run anew")
    return state


def remove_checkpoint(run_dir: Path) -> None:
    """Take away what ``train(..., keep_checkpoint=True)`` left."""
    RunCheckpoint(run_dir, {}, 0.0).remove()

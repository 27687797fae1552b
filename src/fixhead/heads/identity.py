"""What a head is, in a form that travels with its weights and is checked when they are loaded.

The description is JSON inside a uint8 tensor, so that a state_dict holds tensors only and goes
through safetensors, ``torch.load(weights_only=True)`` and every other tool unchanged.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from .. import many_classes as large
from .._errors import RequestError


@dataclass(frozen=True)
class HeadIdentity:
    """The facts in which a checkpoint and the head that loads it must agree."""

    construction: str
    classes: int
    features: int
    logits: str
    learn_vectors: bool
    neck: str = "none"
    code_width: int | None = None

    def __str__(self) -> str:
        kind = "learned" if self.learn_vectors else "frozen"
        neck = "" if self.neck == "none" else f", {self.neck} neck"
        width = "" if self.code_width is None else f" behind a learned map to {self.code_width}"
        return (
            f"{kind} {self.construction} vectors{width}, {self.classes} classes, "
            f"{self.features} features, {self.logits} logits{neck}"
        )


def digest(vectors: Tensor) -> str:
    """SHA-256 of the vectors' type, shape and bytes (row-major, little-endian)."""
    plain = vectors.detach().cpu().contiguous()
    code = hashlib.sha256(f"{plain.dtype} {tuple(plain.shape)}".encode())
    size = plain.numel() * plain.element_size()
    # The tensor's own memory, without a copy and without NumPy, which the core does not need.
    code.update((ctypes.c_ubyte * size).from_address(plain.data_ptr()) if size else b"")
    return code.hexdigest()


def encode(
    identity: HeadIdentity, vectors_digest: str | None, code: Mapping[str, Any] | None = None
) -> Tensor:
    facts: dict[str, Any] = {**asdict(identity), "digest": vectors_digest}
    if code is not None:
        facts["code"] = dict(code)
    text = json.dumps(facts, sort_keys=True)
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def check(stored: Tensor, own: HeadIdentity, vectors: Tensor | None) -> None:
    """Refuse a checkpoint of another head, or one whose frozen vectors were altered.

    Raises:
        RequestError: naming what the checkpoint holds and what this head is.
    """
    facts = _decode(stored)
    expected = facts.pop("digest", None)
    facts.pop("code", None)
    try:
        theirs = HeadIdentity(**facts)
    except TypeError:
        raise RequestError(
            f"the checkpoint's head description was needed as {list(asdict(own))}, "
            f"got {sorted(facts)}; it was written by another version of fixhead"
        ) from None
    if theirs != own:
        raise RequestError(
            f"the checkpoint holds a head with {theirs}, and this head has {own}; "
            "build the head as it was saved, or start without the checkpoint"
        )
    if expected is not None and vectors is not None and digest(vectors) != expected:
        raise RequestError(
            "the checkpoint's frozen class vectors do not match their own digest: they were "
            "changed or converted after saving; load the original file"
        )


def stored_code(stored: Tensor) -> large.Codes:
    """The implicit code of a checkpoint, made again and compared with its digest.

    Raises:
        RequestError: there is none, it cannot be read, or it is not the one that was saved.
    """
    facts = _decode(stored)
    if not isinstance(facts.get("code"), Mapping):
        raise RequestError(
            "the checkpoint's head description was needed with the words of its implicit code, "
            "got none"
        )
    made = large.codes_from(facts["code"])
    if large.digest(made) != facts.get("digest"):
        raise RequestError(
            "the checkpoint's implicit code does not match its own digest: its description was "
            "changed after saving, or this version makes another code; load the original file"
        )
    return made


def _decode(stored: Tensor) -> dict[str, Any]:
    try:
        facts = json.loads(bytes(stored.detach().cpu().to(torch.uint8).tolist()).decode())
    except (ValueError, RuntimeError) as error:
        raise RequestError(
            "the checkpoint's head description cannot be read (needed JSON bytes in "
            f"_extra_state): {error}"
        ) from error
    if not isinstance(facts, Mapping):
        raise RequestError("the checkpoint's head description is no JSON object")
    return dict(facts)

"""What a head is, in a form that travels with its weights and is checked when they are loaded.

The description is JSON inside a uint8 tensor, so that a state_dict holds tensors only and goes
through safetensors, ``torch.load(weights_only=True)`` and every other tool unchanged.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from .. import many_classes as large
from .._errors import RequestError
from .code import Code

T = TypeVar("T")

EARLIER_NAMES = {"lift": "code_map"}
"""Keys of a state_dict that were called otherwise when it was written."""


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


def check_identity(stored: Tensor, own: HeadIdentity, vectors: Tensor | None) -> None:
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
    made = large.Codes.from_dict(facts["code"])
    if made.digest() != facts.get("digest"):
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


class PerTensor(Generic[T]):
    """A number or text that follows from a tensor: found once, and anew after every change."""

    def __init__(self, function: Callable[[Tensor], T]) -> None:
        self._function = function
        self._known: tuple[object, T] | None = None

    def __call__(self, tensor: Tensor) -> T:
        key = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor._version)
        if self._known is None or self._known[0] != key:
            self._known = (key, self._function(tensor))
        return self._known[1]


class HeadState(nn.Module, ABC):
    """A module with class vectors, stored (``vectors``) or not (``implicit``).

    Its ``_extra_state`` says what the head is, with the digest of fixed vectors; for a code also
    the words that make it, in place of the vectors.
    """

    vectors: Tensor
    implicit: Code | None
    learn_vectors: bool

    def __init__(self) -> None:
        super().__init__()
        self._digest = PerTensor(digest)

    @property
    @abstractmethod
    def identity(self) -> HeadIdentity:
        """What must agree between a checkpoint and the head that loads it."""

    def get_extra_state(self) -> Tensor:
        if self.implicit is not None:
            held = self.implicit.vectors
            return encode(self.identity, held.digest(), held.to_dict())
        return encode(self.identity, None if self.learn_vectors else self._digest(self.vectors))

    def set_extra_state(self, state: Tensor) -> None:
        check_identity(state, self.identity, None)
        if self.implicit is not None:
            self.implicit.adopt(stored_code(state))

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        names = {prefix + old: prefix + new for old, new in EARLIER_NAMES.items()}
        state_dict = {names.get(name, name): value for name, value in state_dict.items()}
        # Checked before anything is copied: a refused checkpoint leaves the head as it was.
        stored = state_dict.get(prefix + "_extra_state")
        if stored is not None:
            check_identity(stored, self.identity, state_dict.get(prefix + "vectors"))
            if self.implicit is not None:
                stored_code(stored)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

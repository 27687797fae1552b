"""What a head is, in a form that travels with its weights and is checked when they are loaded.

The description is JSON inside a uint8 tensor, so that a state_dict holds tensors only and goes
through safetensors, ``torch.load(weights_only=True)`` and every other tool unchanged.
"""

from __future__ import annotations

import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._errors import PerformanceWarning, RequestError
from ..many_classes.codes import Codes
from ..many_classes.quantised import QuantisedVectors
from ..many_classes.staged import StagedVectors
from ..many_classes.vectors import ClassVectors, DenseVectors

LARGE = 1 << 22
"""Numbers from which a dense matrix is announced: 16 MiB of float32."""

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
    if expected is not None and vectors is not None and DenseVectors(vectors).digest() != expected:
        raise RequestError(
            "the checkpoint's frozen class vectors do not match their own digest: they were "
            "changed or converted after saving; load the original file"
        )


def stored_code(stored: Tensor) -> Codes:
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
    made = Codes.from_dict(facts["code"])
    if made.digest() != facts.get("digest"):
        raise RequestError(
            "the checkpoint's implicit code does not match its own digest: its description was "
            "changed after saving, or this version makes another code; load the original file"
        )
    return made


def check_stored_choices(stored: Tensor, choices: Tensor | None) -> None:
    """Refuse bytes of classes that are not those that were saved.

    Raises:
        RequestError: they are missing, or do not match their digest.
    """
    expected = _decode(stored).get("digest")
    if choices is None or DenseVectors(choices).digest() != expected:
        raise RequestError(
            "the checkpoint's bytes of the classes (choices) do not match their own digest: they "
            "were changed, converted or left out after saving; load the original file"
        )


def check_stage_code(stored: Tensor, own: Codes) -> None:
    """Refuse vectors in stages over another code than this head's.

    Raises:
        RequestError: naming both.
    """
    words = _decode(stored).get("code")
    if words != json.loads(json.dumps(own.to_dict())):
        raise RequestError(
            f"the checkpoint's vectors are sums of rows of another code ({words}) than this head's "
            f"({own.to_dict()}): another version of fixhead wrote it; use that version"
        )


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


class CodeBits(nn.Module):
    """A code whose bits follow the module from device to device; nothing of it is a parameter."""

    bits: Tensor
    like: Tensor

    def __init__(self, vectors: Codes, dtype: torch.dtype) -> None:
        super().__init__()
        self.vectors = self.valued = vectors
        self.register_buffer("bits", vectors.bits, persistent=False)
        # Remembers the type that the head was brought to: the bits have none.
        self.register_buffer(
            "like", torch.empty(0, dtype=dtype, device=vectors.device), persistent=False
        )

    def adopt(self, vectors: Codes) -> None:
        """Take these vectors in place of the own ones, on the own device."""
        self.valued = vectors
        self.vectors = vectors.to(self.bits.device)
        self.bits = self.vectors.bits

    def _apply(self, fn: Any, recurse: bool = True) -> CodeBits:
        moved: CodeBits = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        moved.vectors = moved.valued.to(moved.bits.device)
        moved.bits = moved.vectors.bits
        if not moved.bits.is_meta:  # from there to_empty comes back for the code
            moved.valued = moved.vectors
        return moved

    def extra_repr(self) -> str:
        return f"{self.vectors.construction}, {self.bits.numel():,} bytes of signs"


class HeldVectors(nn.Module, ABC):
    """A module with class vectors, which is saved with what it is and checks what it loads.

    A tensor is the parameter or buffer ``vectors``, and a key of the state_dict. Of a code only the
    bits are held, and not saved: ``_extra_state`` says what the head is, with the digest of fixed
    vectors, and for a code also the words that make it. Of quantised vectors the parameter
    ``tables`` and the buffer ``choices`` are held, and the digest is that of the bytes; of vectors
    in stages the parameter ``maps``, the buffer ``choices``, and the code as above.
    """

    construction: str
    logit_kind: str
    learn_vectors: bool
    tables: Tensor
    maps: Tensor
    choices: Tensor
    _codes: CodeBits | None
    _stage_code: CodeBits | None

    def __init__(self) -> None:
        super().__init__()
        self._codes = None
        self._stage_code = None
        self._digest: tuple[object, str] | None = None

    @property
    @abstractmethod
    def identity(self) -> HeadIdentity:
        """What must agree between a checkpoint and the head that loads it."""

    def hold(self, vectors: ClassVectors, dtype: torch.dtype) -> None:
        """Take these class vectors, a tensor or a code, in place of those that there are."""
        if isinstance(vectors, Codes):
            self._codes = CodeBits(vectors, dtype)
            return
        if isinstance(vectors, QuantisedVectors):
            if not self.quantised:  # tables that are learned already stay the same parameter
                self._parameters["tables"] = nn.Parameter(vectors.tables.detach().to(dtype))
            self._buffers["choices"] = vectors.choices
            return
        if isinstance(vectors, StagedVectors):
            self._stage_code = CodeBits(vectors.code, dtype)
            self._parameters["maps"] = nn.Parameter(vectors.maps.detach().to(dtype))
            self._buffers["choices"] = vectors.choices
            return
        rows = vectors.dense(dtype)
        # Not by register_…, which refuses the name of a property.
        if self.learn_vectors:
            self._parameters["vectors"] = nn.Parameter(rows)
        else:
            self._buffers["vectors"] = rows

    @property
    def quantised(self) -> bool:
        """Whether the class vectors are learned tables, or maps before a code, and a few small
        numbers of each class, which are chosen anew (``reassign``)."""
        return "choices" in self._buffers

    def _few_numbers(self) -> QuantisedVectors | StagedVectors:
        if self._stage_code is None:
            return QuantisedVectors(self.tables, self.choices)
        return StagedVectors(self.maps, self.choices, self._stage_code.vectors)

    @property
    def vectors(self) -> Tensor:
        """W (K, D). Those of a code or of tables are made anew, without a gradient; where they are
        large, a ``PerformanceWarning`` announces it."""
        held: Tensor | None = self._parameters.get("vectors")
        held = self._buffers.get("vectors") if held is None else held
        return self._made() if held is None else held

    @property
    def dtype(self) -> torch.dtype:
        """The type of the class vectors."""
        if self.quantised:
            return (self.tables if self._stage_code is None else self.maps).dtype
        return self.vectors.dtype if self._codes is None else self._codes.like.dtype

    def _made(self) -> Tensor:
        if self._codes is None and not self.quantised:
            raise AttributeError(f"{type(self).__name__} holds no class vectors yet")
        held = self._few_numbers() if self.quantised else None
        made: ClassVectors | None = held if self._codes is None else self._codes.vectors
        assert made is not None
        classes, width = made.shape
        if classes * width > LARGE:
            warnings.warn(
                f"all {classes:,} x {width} class vectors of a head that stores none are being "
                f"made, {4 * classes * width / 2**20:,.0f} MiB; head.loss, head.topk and "
                "head.certificate need none of them",
                PerformanceWarning,
                stacklevel=3,
            )
        rows = made.dense()
        return rows.to(self.dtype) if self._codes is None else rows.to(self._codes.like)

    def get_extra_state(self) -> Tensor:
        if self._codes is not None:
            made = self._codes.valued
            return encode(self.identity, made.digest(), made.to_dict())
        if self.quantised:
            code = None if self._stage_code is None else self._stage_code.valued.to_dict()
            return encode(self.identity, DenseVectors(self.choices).digest(), code)
        return encode(self.identity, None if self.learn_vectors else self._frozen_digest())

    def set_extra_state(self, state: Tensor) -> None:
        check_identity(state, self.identity, None)
        if self._codes is not None:
            self._codes.adopt(stored_code(state))

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        names = {prefix + old: prefix + new for old, new in EARLIER_NAMES.items()}
        state_dict = {names.get(name, name): value for name, value in state_dict.items()}
        # Checked before anything is copied: a refused checkpoint leaves the head as it was.
        stored = state_dict.get(prefix + "_extra_state")
        if stored is not None:
            check_identity(stored, self.identity, state_dict.get(prefix + "vectors"))
            if self._codes is not None:
                stored_code(stored)
            if self.quantised:
                check_stored_choices(stored, state_dict.get(prefix + "choices"))
            if self._stage_code is not None:
                check_stage_code(stored, self._stage_code.valued)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _frozen_digest(self) -> str | None:
        rows = self.vectors
        if rows.is_meta:
            return None
        key = (rows.data_ptr(), rows.dtype, rows.shape, rows._version)
        if self._digest is None or self._digest[0] != key:
            self._digest = (key, DenseVectors(rows).digest())
        return self._digest[1]

"""One module for every classification layer: independent switches over the same formulae."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .. import geometry
from .. import logits as formulae
from .._errors import RequestError
from .._seeds import default_generator_or
from ..vectors import build
from .identity import HeadIdentity, check, digest, encode
from .initial import linear_rows
from .presets import parse_head

if TYPE_CHECKING:
    from ..geometry import Certificate

Logits = Literal["dot", "cosine"]
Scale = float | Literal["auto", "learned"]

HOFFER_SCALE = 10.0
"""Initial value of the learned scale on unit rows (Hoffer et al. 2018, released ``Proj``)."""


class ClassificationHead(nn.Module):
    """Features (N, d) → logits (N, K) over class vectors W (K, d), each part a switch of its own.

    dot:    z = S · W x + b
    cosine: z = S · ⟨w, x⟩ / (‖w‖ ‖x‖) + b

    Args:
        features: d, the size of a feature.
        classes: K, the number of classes.
        vectors: the name of a construction in ``fixhead.vectors``, ``"linear"`` for nn.Linear's
            own initialisation, or a tensor (K, d).
        logits: ``"dot"`` or ``"cosine"``.
        scale: S as a number; ``"auto"``, the smallest S at which a feature on its class vector
            reaches probability 0.99 on these very vectors (cosine only); ``"learned"``, one
            trained scalar (Hoffer et al. 2018).
        initial_scale: where a learned scale starts; as Hoffer et al.'s code by default: 10, and
            √(d/K) for Hadamard rows (their 1/√K on ±1 rows, on unit rows).
        bias: whether a bias b (K,) is learned.
        learn_vectors: whether W is a parameter; otherwise it is a buffer in the state_dict.
        generator: where random constructions draw from; seed 0 where none is given.

    Frozen vectors of a cosine head are stored as unit rows and never normalised again.

    Sources: Shalev et al. 2020, eqs. 1 and 3; Hoffer et al. 2018, section 3; Yang et al. 2022.

    Raises:
        RequestError: a switch has no such position, or the construction does not fit (K, d).
    """

    vectors: Tensor
    scale: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        vectors: str | Tensor = "simplex",
        logits: Logits = "cosine",
        scale: Scale = "auto",
        initial_scale: float | None = None,
        bias: bool = False,
        learn_vectors: bool = False,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        _check_switches(logits, scale, initial_scale)
        generator = default_generator_or(generator)
        rows = _rows(vectors, classes, features, generator, dtype)
        if logits == "cosine" and not learn_vectors and not _of_unit_rows(vectors):
            rows = formulae.unit(rows).to(dtype)
        self.features = features
        self.classes = classes
        self.logits: Logits = logits
        self.learn_vectors = learn_vectors
        self.construction = vectors if isinstance(vectors, str) else "tensor"
        self._digest: tuple[object, str] | None = None

        _place(self, "vectors", rows.to(device), learn_vectors)
        value = _initial_scale(scale, initial_scale, self.construction, logits, rows)
        number = None if value is None else torch.tensor(value, device=device, dtype=dtype)
        _place(self, "scale", number, scale == "learned")
        start = (
            linear_rows(1, features, classes, generator, dtype)[0]
            if vectors == "linear"
            else (torch.zeros(classes, dtype=dtype))
        )
        _place(self, "bias", start.to(device) if bias else None, bias)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K) of features (N, d)."""
        if features.shape[-1] != self.features:
            raise RequestError(
                f"the head needs features (N, {self.features}), got {tuple(features.shape)}; "
                "build it with the size of the backbone's features"
            )
        scale = 1.0 if self.scale is None else self.scale
        if self.logits == "dot":
            return formulae.dot(features, self.vectors, scale=scale, bias=self.bias)
        return formulae.cosine(
            features,
            self.vectors,
            scale=scale,
            bias=self.bias,
            unit_vectors=not self.learn_vectors,
        )

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of ``head(features)`` against labels (N,), in nats."""
        return cross_entropy(self(features), labels)

    @classmethod
    def from_preset(
        cls, preset: str, features: int, classes: int, *, generator: torch.Generator | None = None
    ) -> ClassificationHead:
        """The head that a preset names, e.g. ``"random-cosine@20"``; see ``heads.PRESETS``."""
        return cls(features, classes, generator=generator, **parse_head(preset).arguments())

    def certificate(self) -> Certificate:
        """How good the class vectors are as they stand now (``fixhead.certify``)."""
        return geometry.certify(self.vectors.detach())

    @property
    def identity(self) -> HeadIdentity:
        """What must agree between a checkpoint and the head that loads it."""
        return HeadIdentity(
            self.construction, self.classes, self.features, self.logits, self.learn_vectors
        )

    def get_extra_state(self) -> Tensor:
        return encode(self.identity, None if self.learn_vectors else self._frozen_digest())

    def set_extra_state(self, state: Tensor) -> None:
        check(state, self.identity, None)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # Checked before anything is copied: a refused checkpoint leaves the head as it was.
        stored = state_dict.get(prefix + "_extra_state")
        if stored is not None:
            check(stored, self.identity, state_dict.get(prefix + "vectors"))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _frozen_digest(self) -> str:
        rows = self.vectors
        key = (rows.data_ptr(), rows.dtype, rows._version)
        if self._digest is None or self._digest[0] != key:
            self._digest = (key, digest(rows))
        return self._digest[1]

    def extra_repr(self) -> str:
        scale = (
            "1"
            if self.scale is None
            else ("learned" if isinstance(self.scale, nn.Parameter) else f"{self.scale.item():g}")
        )
        return f"{self.identity}, scale {scale}, bias {self.bias is not None}"


def _place(module: nn.Module, name: str, value: Tensor | None, learned: bool) -> None:
    if value is not None and learned:
        module.register_parameter(name, nn.Parameter(value))
    else:
        module.register_buffer(name, value)


def _check_switches(logits: str, scale: object, initial_scale: float | None) -> None:
    if logits not in get_args(Logits):
        raise RequestError(f"logits must be 'dot' or 'cosine', got {logits!r}")
    if isinstance(scale, str):
        if scale not in ("auto", "learned"):
            raise RequestError(
                f"scale must be a number above 0, 'auto' or 'learned', got {scale!r}"
            )
    elif isinstance(scale, bool) or not isinstance(scale, int | float):
        raise RequestError(f"scale must be a number above 0, 'auto' or 'learned', got {scale!r}")
    elif not (math.isfinite(scale) and scale > 0):
        raise RequestError(f"scale must be a finite number above 0, got {scale}")
    if scale == "auto" and logits == "dot":
        raise RequestError(
            "scale='auto' needs cosine logits, got logits='dot': the length of a feature already "
            "scales dot logits; give a number, or use logits='cosine'"
        )
    if initial_scale is not None and scale != "learned":
        raise RequestError(
            f"initial_scale={initial_scale} needs scale='learned', got scale={scale!r}"
        )


def _rows(
    vectors: str | Tensor,
    classes: int,
    features: int,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> Tensor:
    if isinstance(vectors, str):
        if vectors == "linear":
            return linear_rows(classes, features, features, generator, dtype)
        return build(vectors, classes, features, generator=generator, dtype=dtype)
    if tuple(vectors.shape) != (classes, features):
        raise RequestError(
            f"vectors must have shape (classes, features) = ({classes}, {features}), "
            f"got {tuple(vectors.shape)}"
        )
    if not bool(torch.isfinite(vectors).all()):
        row = int((~torch.isfinite(vectors)).any(dim=1).nonzero()[0])
        raise RequestError(f"vectors must be finite, got NaN or infinity in row {row}")
    return vectors.detach().clone().to(dtype)


def _of_unit_rows(vectors: str | Tensor) -> bool:
    """Constructions give unit rows; normalising them again would move their last digits."""
    return isinstance(vectors, str) and vectors != "linear"


def _initial_scale(
    scale: Scale, initial: float | None, construction: str, logits: Logits, rows: Tensor
) -> float | None:
    if scale == "auto":
        return geometry.scale_auto(formulae.unit(rows))
    if scale == "learned":
        if initial is not None:
            return initial
        classes, features = rows.shape
        return math.sqrt(features / classes) if construction == "hadamard" else HOFFER_SCALE
    assert not isinstance(scale, str)
    return None if logits == "dot" and scale == 1 else float(scale)

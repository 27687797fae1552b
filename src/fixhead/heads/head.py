"""One module for every classification layer: independent switches over the same formulae."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .. import geometry, losses
from .. import logits as formulae
from .. import many_classes as large
from .._errors import PerformanceWarning, RequestError
from .._seeds import default_generator_or
from .auto import resolve_auto
from .code import Code
from .code_map import CodeWidth, initial_code_map
from .grow import more_rows
from .init import (
    check_sizes,
    checked_counts,
    initial_bias,
    initial_scale,
    initial_vectors,
)
from .loss import (
    WITHOUT_LOGITS,
    check_fit,
    check_implicit,
    compute,
    compute_without_logits,
    deferred_weights,
    goes_without_logits,
    parse_loss,
)
from .necks import build_neck, parse_neck
from .reachability import warn_if_out_of_reach
from .spec import HeadSpec, parse_head
from .state import HeadIdentity, HeadState
from .to_linear import to_linear

if TYPE_CHECKING:
    from ..geometry import Certificate

LogitKind = Literal["dot", "cosine", "unit-features"]


class ClassificationHead(HeadState):
    """Features x (N, d) → logits (N, K) over class vectors W (K, D), each part a switch of its own.

    cosine:        z = S · ⟨w, p⟩ / (‖w‖ ‖p‖) + b,   p = neck(x) or A neck(x), (N, D)
    dot:           z = S · W p + b
    unit-features: z = S · ⟨w, p⟩ / ‖p‖ + b           (Hoffer et al. 2018, as published)

    Args:
        features: d, the size of a feature.
        classes: K, the number of classes.
        vectors: the name of a construction in ``fixhead.vectors`` (or a variant of one,
            ``heads.init.VARIANTS``); ``"auto"``, what ``fixhead.vectors.best`` recommends;
            ``"linear"`` for nn.Linear's own initialisation; ``"hoffer-…"``; ``"implicit"`` for
            a code that is never stored (``heads.code``); or a tensor (K, D).
        logits: ``"cosine"``, ``"dot"`` or ``"unit-features"``.
        scale: S as a number; ``"auto"``, the smallest S at which a feature on its class vector
            reaches probability 0.99 on these very vectors, and three times that behind a learned
            map (cosine only); ``"learned"`` or
            ``"learned:START"``, one trained scalar, which starts as in Hoffer et al.'s code.
        bias: whether a bias b (K,) is learned.
        learn_vectors: whether W is a parameter; otherwise it is a buffer in the state_dict, and
            of an implicit code the state_dict holds only the description.
        neck: ``"none"``, ``"batchnorm"``, ``"linear[:D]"`` or ``"mlp[:D]"``.
        loss: what ``head.loss`` computes: a name of ``fixhead.losses.LOSSES``, with its option
            after a colon, e.g. ``"cosface:0.35"``.
        code_width: D of fixed class vectors behind a learned map A (D, d) without bias
            (``heads.code_map``), for many more classes than dimensions; ``"auto"`` for the width
            that ``heads.auto`` takes; None for no such map.
        reweight: the epoch (from 1) from which classes are weighted by their effective number of
            images (LDAM's deferred re-weighting); None for never. See ``begin_epoch``.
        class_counts: training images of each class (K,), where vectors or the loss need them.
        nonnegative_features: whether features have no negative entries (after a ReLU): then a
            class that they cannot reach is warned of, and ``"auto"`` takes it into account.
        generator: where random constructions and necks draw from; seed 0 where none is given.

    Frozen vectors of a cosine head are stored as unit rows and never normalised again. Reading
    ``vectors`` of an implicit code makes them all, and says so (``PerformanceWarning``).

    Sources: Shalev et al. 2020, eqs. 1 and 3; Hoffer et al. 2018, section 3; Yang et al. 2022.

    Raises:
        RequestError: a switch has no such position, switches contradict each other, or the
            construction does not fit (K, D).
    """

    vectors: Tensor
    scale: Tensor | None
    bias: Tensor | None
    code_map: Tensor | None
    class_counts: Tensor | None
    class_weights: Tensor | None

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        vectors: str | Tensor = "simplex",
        logits: LogitKind = "cosine",
        scale: float | str = "auto",
        bias: bool = False,
        learn_vectors: bool = False,
        neck: str = "none",
        loss: str = "cross-entropy",
        reweight: int | None = None,
        code_width: CodeWidth = None,
        class_counts: Sequence[int] | Tensor | None = None,
        nonnegative_features: bool = False,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        check_sizes(features, classes)
        word = vectors if isinstance(vectors, str) else "linear"
        HeadSpec(word, logits, scale, bias, learn_vectors, neck, loss, reweight, code_width)
        counts = checked_counts(class_counts, classes)
        self.loss_name = parse_loss(loss)
        check_fit(self.loss_name, logits, bias, counts)
        if reweight is not None and counts is None:
            raise RequestError("reweight needs class_counts (K,), got none")
        neck_name, seen = parse_neck(neck, features)
        choice = resolve_auto(
            vectors,
            code_width,
            classes,
            seen,
            learned=learn_vectors,
            without_logits=goes_without_logits(self.loss_name),
        )
        self.code_width = choice.width
        width = self.code_width or seen
        as_they_come = neck_name == "none" and self.code_width is None
        generator = default_generator_or(generator)
        rows = initial_vectors(
            choice.vectors,
            classes,
            width,
            generator=generator,
            dtype=dtype,
            counts=counts,
            nonnegative=nonnegative_features and as_they_come,
        )
        if nonnegative_features and as_they_come and not learn_vectors:
            warn_if_out_of_reach(rows.values, rows.construction)
        values = rows.values
        self.implicit = values if isinstance(values, Code) else None
        self.features = features
        self.classes = classes
        self.logit_kind: LogitKind = logits
        self.learn_vectors = learn_vectors
        self.construction = rows.construction
        self.reason = choice.reason or rows.reason
        self.reweight = reweight
        self.neck_name = neck

        if isinstance(values, Code):
            check_implicit(self.loss_name)
            values.to(device)
        else:
            if logits == "cosine" and not learn_vectors and not rows.unit:
                values = formulae.unit(values).to(dtype)  # constructions are unit to the last digit
            _place(self, "vectors", values.to(device), learn_vectors)
        start, learned = initial_scale(scale, rows, logits, mapped=self.code_width is not None)
        number = None if start is None else torch.tensor(start, device=device, dtype=dtype)
        _place(self, "scale", number, learned)
        first = initial_bias(rows, generator, dtype).to(device) if bias else None
        _place(self, "bias", first, bias)
        self.neck = build_neck(neck_name, features, seen, generator, dtype).to(device)
        wide = None
        if self.code_width is not None:
            wide = initial_code_map(self.code_width, seen, dtype).to(device)
        _place(self, "code_map", wide, True)
        counted = None if counts is None else counts.to(device)
        self.register_buffer("class_counts", counted, persistent=False)
        self.register_buffer("class_weights", None, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K) of features (N, d)."""
        return self.classify(self.project(features))

    def project(self, features: Tensor) -> Tensor:
        """What the class vectors see: features (N, d) behind neck and map, (N, D)."""
        if features.shape[-1] != self.features:
            raise RequestError(
                f"the head needs features (N, {self.features}), got {tuple(features.shape)}; "
                "build it with the size of the backbone's features"
            )
        points: Tensor = features if self.neck_name == "none" else self.neck(features)
        return points if self.code_map is None else linear(points, self.code_map)

    def classify(self, points: Tensor) -> Tensor:
        """Logits (N, K) of what ``project`` gave."""
        return self._logits(points, 1.0 if self.scale is None else self.scale)

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """The head's mean loss on features (N, d) and labels (N,), or probabilities (N, K).

        Over very many classes the logits are never held: same value, same gradients
        (``fixhead.many_classes``). With learned vectors that takes longer than holding them, and
        is done only where they would need a gigabyte.
        """
        takes = losses.LOSSES[self.loss_name.name].takes
        if takes == "features":
            return self._compute(self.project(features), None, labels)
        known = self.loss_name.name in WITHOUT_LOGITS and labels.ndim == 1
        if not (known and self._without_logits(labels, training=True)):
            return self.loss_and_logits(features, labels)[0]
        return compute_without_logits(
            self.loss_name,
            self.project(features),
            self._class_vectors(),
            labels,
            logits=self.logit_kind,
            factor=1.0 if self.scale is None else self.scale,
            bias=self.bias,
            counts=self.class_counts,
            weight=self.class_weights,
        )

    @torch.no_grad()
    def topk(self, features: Tensor, k: int = 1) -> large.Top:
        """The k largest logits of features (N, d) and their classes, (N, k) each."""
        if not self._without_logits(features):
            return large.Top(*self(features).topk(k, dim=1))
        return large.topk(self.project(features), self._class_vectors(), k, **self._switches())

    @torch.no_grad()
    def predict_proba(self, features: Tensor, k: int = 1) -> large.Top:
        """The k largest probabilities among all K classes, and their classes, (N, k) each."""
        if not self._without_logits(features):
            return large.Top(*self(features).softmax(dim=1).topk(k, dim=1))
        return large.predict_proba(
            self.project(features), self._class_vectors(), k, **self._switches()
        )

    def loss_and_logits(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and the logits (N, K) that came with it: one pass for both.

        Margins are in the loss only; the logits are those of ``head(features)``.
        """
        points = self.project(features)
        takes = losses.LOSSES[self.loss_name.name].takes
        scale: float | Tensor = 1.0 if self.scale is None else self.scale
        given = self._logits(points, 1.0 if takes == "cosines" else scale)
        loss = self._compute(points, given, labels)
        return loss, given * scale if takes == "cosines" else given

    def begin_epoch(self, epoch: int) -> None:
        """Tell the head that epoch ``epoch`` (from 1) begins: deferred re-weighting needs it."""
        if self.reweight is not None and self.class_counts is not None:
            self.class_weights = deferred_weights(
                self.class_counts, epoch - 1, start=self.reweight - 1
            )

    @torch.no_grad()
    def grow(self, classes: int, *, generator: torch.Generator | None = None) -> None:
        """Add classes, up to ``classes`` in all, without moving the vectors of the old ones.

        For frozen or learned vectors of constructions that go on: random, hadamard, codes,
        one_hot, and whatever leaves room (``heads.grow``). A new class starts with bias 0.

        Raises:
            RequestError: fewer classes than there are, a construction that has no further vector
                which leaves the old ones in place, or a head that needs ``class_counts``.
        """
        if self.class_counts is not None:
            raise RequestError(
                "grow() needs a head without class_counts, got one whose loss or vectors follow "
                "the counts; build a new head with the new counts"
            )
        if self.implicit is not None:
            self.implicit.adopt(self.implicit.vectors.grow(classes))
            self._add_bias(classes - self.classes)
            self.classes = classes
            return
        old = self.vectors.detach()
        added = more_rows(old.cpu(), self.construction, classes, default_generator_or(generator))
        rows = torch.cat([old, added.to(old)])
        _place(self, "vectors", rows, self.learn_vectors)
        self._add_bias(len(added))
        self.classes = classes

    @classmethod
    def from_preset(
        cls, preset: str, features: int, classes: int, **arguments: Any
    ) -> ClassificationHead:
        """The head that a preset or spec names, e.g. ``"random-cosine@20"``.

        ``arguments``: class_counts, nonnegative_features, generator, device, dtype.
        """
        return cls(features, classes, **parse_head(preset).arguments(), **arguments)

    def to_linear(self, keep: Literal["logits", "ranking"] = "logits") -> nn.Linear:
        """An nn.Linear (d → K) with this head's logits; ``keep="ranking"``: with its predictions.

        Raises:
            RequestError: no Linear can: cosine logits with ``keep="logits"``, an mlp neck
                (``heads.to_linear``).
        """
        if self.implicit is None:
            rows = self.vectors
        else:
            warnings.warn(
                f"to_linear() stores all {self.classes:,} x {self.width} class vectors of a head "
                f"that stores none: {4 * self.classes * self.features / 2**20:,.1f} MiB",
                PerformanceWarning,
                stacklevel=2,
            )
            rows = self.implicit.vectors.dense()
        layer = to_linear(
            rows,
            logits=self.logit_kind,
            scale=self.scale,
            bias=self.bias,
            neck=self.neck,
            neck_name=self.neck_name,
            code_map=self.code_map,
            unit_vectors=self._unit_vectors,
            keep=keep,
        )
        return layer.train(self.training)

    def certificate(self) -> Certificate:
        """How good the class vectors are as they stand now (``fixhead.certify``)."""
        if self.implicit is not None:
            return self.implicit.vectors.certificate()
        return geometry.certify(self.vectors.detach(), construction=self.construction)

    @property
    def width(self) -> int:
        """D, the size of a class vector: that of the features behind the neck."""
        shape = self.vectors.shape if self.implicit is None else self.implicit.vectors.shape
        return shape[1]

    @property
    def identity(self) -> HeadIdentity:
        """What must agree between a checkpoint and the head that loads it."""
        return HeadIdentity(
            self.construction,
            self.classes,
            self.width,
            self.logit_kind,
            self.learn_vectors,
            self.neck_name,
            self.code_width,
        )

    def extra_repr(self) -> str:
        scale = "1" if self.scale is None else f"{float(self.scale.detach()):g}"
        learned = " (learned)" if isinstance(self.scale, nn.Parameter) else ""
        return (
            f"{self.identity}, scale {scale}{learned}, bias {self.bias is not None}, "
            f"loss {self.loss_name}"
        )

    def _class_vectors(self) -> large.ClassVectors:
        """As ``many_classes`` takes them, with their greatest length where it is known."""
        if self.implicit is not None:
            return self.implicit.vectors
        fixed = not self.learn_vectors
        unit_rows = fixed and self.logit_kind == "cosine"
        return large.DenseVectors(self.vectors, unit_rows=unit_rows, fixed=fixed)

    def _without_logits(self, rows: Tensor, *, training: bool = False) -> bool:
        """Whether the logits of so many rows are better not held."""
        learned = training and self.learn_vectors
        return self._class_vectors().prefers_chunking(len(rows), learned=learned)

    def _switches(self) -> dict[str, Any]:
        factor = 1.0 if self.scale is None else self.scale
        return {"logits": self.logit_kind, "scale": factor, "bias": self.bias}

    @property
    def _unit_vectors(self) -> bool:
        return self.logit_kind == "cosine" and not self.learn_vectors

    def _compute(self, points: Tensor, logits: Tensor | None, labels: Tensor) -> Tensor:
        return compute(
            self.loss_name,
            points,
            self._class_vectors() if self.implicit is not None else self.vectors,
            logits,
            labels,
            scale=1.0 if self.scale is None else self.scale,
            counts=self.class_counts,
            weight=self.class_weights,
            unit_vectors=self._unit_vectors,
        )

    def _add_bias(self, number: int) -> None:
        if self.bias is not None:
            _place(self, "bias", torch.cat([self.bias, self.bias.new_zeros(number)]), True)

    def __getattr__(self, name: str) -> Any:
        # Only asked for what is not there: of an implicit head, its matrix.
        if name == "vectors" and self.implicit is not None:
            return self.implicit.dense()
        return super().__getattr__(name)

    def _logits(self, points: Tensor, scale: float | Tensor) -> Tensor:
        if self.implicit is not None:
            rows = self.implicit.vectors.project(points, self.logit_kind, scale)
            found = self.implicit.logits(rows)
            return found if self.bias is None else found + self.bias
        if self.logit_kind == "cosine":
            return formulae.cosine(
                points,
                self.vectors,
                scale=scale,
                bias=self.bias,
                unit_vectors=self._unit_vectors,
            )
        if self.logit_kind == "unit-features":
            points, scale = formulae.unit(points, length=scale).to(self.vectors.dtype), 1.0
        return formulae.dot(points, self.vectors, scale=scale, bias=self.bias)


def _place(module: nn.Module, name: str, value: Tensor | None, learned: bool) -> None:
    # What is absent is an absent parameter: torch.export miscounts absent buffers.
    if value is None or learned:
        module.register_parameter(name, None if value is None else nn.Parameter(value))
    elif name in module._buffers:
        module._buffers[name] = value
    else:
        module.register_buffer(name, value)

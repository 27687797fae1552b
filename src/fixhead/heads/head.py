"""One module for every classification layer: independent switches over the same formulae."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, cast

import torch
import torch.fx
from torch import Tensor, nn
from torch.nn.functional import linear

from .._errors import PerformanceWarning, RequestError
from .._seeds import default_generator_or
from ..logits import being_traced, unit
from ..losses.catalogue import LOSSES
from ..losses.checks import require_tensor
from ..many_classes.codes import Codes
from ..many_classes.inference import Top, predict_proba, topk
from ..many_classes.loss import linear_cross_entropy
from ..many_classes.quantised import QuantisedVectors, nearest_choices, quantise
from ..many_classes.staged import StagedVectors, in_stages, nearest_sums
from ..many_classes.vectors import ClassVectors, DenseVectors, prefers_chunking
from .auto import Case, settle
from .grow import grown
from .imprint import ClassMoments, discriminant_, imprinted, no_layer, parse_initial
from .init import (
    RISES_FROM,
    check_sizes,
    checked_counts,
    initial_bias,
    initial_scale,
    initial_vectors,
    split_rising,
    warn_if_out_of_reach,
)
from .loss import (
    check_fit,
    check_implicit,
    compute,
    deferred_weights,
    goes_without_logits,
    options_without_logits,
    parse_loss,
)
from .necks import CodeWidth, build_neck, initial_code_map, parse_neck, resolve_auto
from .spec import HeadSpec, parse_head
from .state import HeadIdentity, HeldVectors
from .to_linear import to_linear

if TYPE_CHECKING:
    from ..geometry.certificate import Certificate

LogitKind = Literal["dot", "cosine", "unit-features"]


P = ParamSpec("P")


def _drawn_on_cpu(
    init: Callable[Concatenate[ClassificationHead, P], None],
) -> Callable[Concatenate[ClassificationHead, P], None]:
    """Let vectors be drawn where their generator is, and the finished head go to its device, or
    torch's default one: under ``torch.device("meta")`` too, as an nn.Linear."""

    @functools.wraps(init)
    def made(head: ClassificationHead, /, *args: P.args, **options: P.kwargs) -> None:
        device: Any = options.pop("device", None)
        device = torch.get_default_device() if device is None else torch.device(device)
        with torch.device("cpu"):
            init(head, *args, **options)
        if device.type != "cpu":
            head.to(device)

    return made


class ClassificationHead(HeldVectors):
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
            a code that is never stored (``heads.init.IMPLICIT``); ``"quantised:8"`` for learned
            tables and eight bytes a class (``many_classes.QuantisedVectors``); ``"stages:4"`` for
            sums of four code rows behind learned maps (``many_classes.StagedVectors``); or a tensor
            (K, D).
        logits: ``"cosine"``, ``"dot"`` or ``"unit-features"``; ``"auto"``, with ``vectors="auto"``,
            for the head that the table of ``heads.auto`` takes (as ``from_preset("auto")``).
        scale: S as a number; ``"auto"``, the smallest S at which a feature on its class vector
            reaches probability 0.99 on these very vectors, and three times that behind a learned
            map (cosine only); ``"learned"`` or
            ``"learned:START"``, one trained scalar, which starts as in Hoffer et al.'s code;
            ``"20:rising"`` or ``"auto:rising"``, which rises from a quarter to that value over
            the run (``set_progress``; until the first call it has its value).
        bias: whether a bias b (K,) is learned.
        learn_vectors: whether W is a parameter; otherwise it is a buffer in the state_dict, and
            of an implicit code the state_dict holds only the description.
        neck: ``"none"``, ``"batchnorm"``, ``"linear[:D]"`` or ``"mlp[:D]"``.
        loss: what ``head.loss`` computes: a name of ``fixhead.losses.LOSSES``, with its option
            after a colon, e.g. ``"cosface:0.35"``.
        code_width: D of fixed class vectors behind a learned map A (D, d) without bias
            (``heads.necks``), for many more classes than dimensions; ``"auto"`` for the width
            that ``heads.necks`` takes; None for no such map.
        initial: ``"own"``; or, for learned vectors, what of the start comes from the data:
            ``"imprint"`` (discriminant and class means), ``"class-means"``, ``"discriminant"``
            (``heads.imprint``). The loss of such a head is refused until ``imprint`` or a training
            run has seen data, or a state was loaded.
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

    scale: Tensor | None
    bias: Tensor | None
    code_map: Tensor | None
    class_counts: Tensor | None
    class_weights: Tensor | None

    @_drawn_on_cpu
    def __init__(
        self,
        features: int,
        classes: int,
        *,
        vectors: str | Tensor = "simplex",
        logits: LogitKind | Literal["auto"] = "cosine",
        scale: float | str = "auto",
        bias: bool = False,
        learn_vectors: bool = False,
        neck: str = "none",
        loss: str = "cross-entropy",
        reweight: int | None = None,
        code_width: CodeWidth = None,
        initial: str = "own",
        class_counts: Sequence[int] | Tensor | None = None,
        nonnegative_features: bool = False,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        check_sizes(features, classes)
        word = vectors if isinstance(vectors, str) else "linear"
        asked = HeadSpec(
            word, logits, scale, bias, learn_vectors, neck, loss, reweight, code_width, initial
        )
        counts = checked_counts(class_counts, classes)
        bare = asked.neck in ("auto", "none")
        spec, why = settle(asked, Case(classes, features, nonnegative_features and bare, counts))
        if spec is not asked:
            vectors, scale, bias, neck = spec.vectors, spec.scale, spec.bias, spec.neck
            loss, code_width, initial = spec.loss, spec.code_width, spec.initial
        logits = cast(LogitKind, spec.logits)
        self.loss_name = parse_loss(loss)
        self._loss_options = options_without_logits(self.loss_name)
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
        start = initial_vectors(
            choice.vectors,
            classes,
            width,
            generator=generator,
            dtype=dtype,
            counts=counts,
            nonnegative=nonnegative_features and as_they_come,
        )
        if nonnegative_features and as_they_come and not learn_vectors:
            warn_if_out_of_reach(start.vectors, start.construction)
        if isinstance(start.vectors, Codes):
            check_implicit(self.loss_name)
        self.features = features
        self.classes = classes
        self.logit_kind: LogitKind = logits
        self.learn_vectors = learn_vectors
        self.initial = initial
        self.awaits_imprint = initial != "own"
        self.construction = start.construction
        self.reason = "; ".join(filter(None, [choice.reason or start.reason, why])) or None
        self.spec = spec if isinstance(vectors, str) else None
        self.reweight = reweight
        self.neck_name = neck

        frozen_cosine = logits == "cosine" and not learn_vectors
        held = start.vectors.unit() if frozen_cosine else start.vectors
        self.hold(held, dtype)
        number, learned = initial_scale(scale, start, logits, mapped=self.code_width is not None)
        self.rises_to = number if split_rising(scale)[1] else None
        first = None if number is None else torch.tensor(number, dtype=dtype)
        _place(self, "scale", first, learned)
        _place(self, "bias", initial_bias(start, generator, dtype) if bias else None)
        self.neck = build_neck(neck_name, features, seen, generator, dtype)
        wide = None
        if self.code_width is not None:
            wide = initial_code_map(self.code_width, seen, dtype)
        _place(self, "code_map", wide)
        self._counts = counts
        self.register_buffer("class_counts", counts, persistent=False)
        self.register_buffer("class_weights", None, persistent=False)

    def _apply(self, fn: Any, recurse: bool = True) -> ClassificationHead:
        moved: ClassificationHead = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        counts = moved.class_counts
        if moved._counts is not None and counts is not None and not counts.is_meta:
            moved.class_counts = moved._counts.to(counts.device)  # to_empty left them unset
        return moved

    @property
    def class_vectors(self) -> ClassVectors:
        """The class vectors as ``fixhead.many_classes`` takes them, stored or not."""
        if self._codes is not None:
            return self._codes.vectors
        if self.quantised:
            return self._few_numbers()
        fixed = not self.learn_vectors
        return DenseVectors(
            self.vectors,
            unit_rows=fixed and self.logit_kind == "cosine",
            fixed=fixed,
            construction=self.construction,
        )

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K) of features (N, d)."""
        return self.classify(self.project(features))

    def project(self, features: Tensor) -> Tensor:
        """What the class vectors see: features (N, d) behind neck and map, (N, D)."""
        features = _of_width(features, self.features)
        points: Tensor = features if self.neck_name == "none" else self.neck(features)
        return points if self.code_map is None else linear(points, self.code_map)

    def classify(self, points: Tensor) -> Tensor:
        """Logits (N, K) of what ``project`` gave."""
        return self._logits(self.class_vectors, points, self._scale)

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """The head's mean loss on features (N, d) and labels (N,), or probabilities (N, K).

        Over very many classes the logits are never held: same value, same gradients
        (``fixhead.many_classes``). With learned vectors that takes longer than holding them, and
        is done only where they would need a gigabyte.
        """
        require_tensor(labels)
        self._require_imprint()
        vectors = self.class_vectors
        on_features = LOSSES[self.loss_name.name].takes == "features"
        chunked = vectors.prefers_chunking(len(labels), learned=self.learn_vectors)
        if not on_features and not (chunked and self._knows_no_logits(labels)):
            return self.loss_and_logits(features, labels)[0]
        return self._loss_alone(vectors, self.project(features), labels)

    def loss_and_hits(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and whose largest logit is that of the label (N,): what a training step asks.

        Of probabilities (N, K) in the labels' place, the largest is the label. Where the logits
        would be very many (16 MiB on a CPU, 1 GiB elsewhere or of vectors that are stored), the
        largest is found as ``topk`` finds it, and none are held.
        """
        require_tensor(labels)
        vectors = self.class_vectors
        if vectors.stored:
            chunked = vectors.prefers_chunking(len(labels), learned=True)
        else:
            chunked = prefers_chunking(len(labels), vectors.classes, vectors.device)
        if not (chunked and self._knows_no_logits(labels)):
            loss, logits = self.loss_and_logits(features, labels)
            wanted = labels if labels.ndim == 1 else labels.argmax(dim=-1)
            return loss, logits.detach().argmax(dim=-1) == wanted
        self._require_imprint()
        points = self.project(features)
        found = topk(points.detach(), vectors, 1, **self._switches())
        return self._loss_alone(vectors, points, labels), found.classes[:, 0] == labels

    def _knows_no_logits(self, labels: Tensor) -> bool:
        return goes_without_logits(self.loss_name) and labels.ndim == 1

    def _loss_alone(self, vectors: ClassVectors, points: Tensor, labels: Tensor) -> Tensor:
        if LOSSES[self.loss_name.name].takes == "features":
            return self._compute(vectors, points, None, labels)
        needs_counts = LOSSES[self.loss_name.name].counts
        return linear_cross_entropy(
            points,
            vectors,
            labels,
            **self._switches(),
            **self._loss_options,
            prior=self.class_counts if needs_counts else None,
            weight=self.class_weights,
        )

    @torch.no_grad()
    def topk(self, features: Tensor, k: int = 1) -> Top:
        """The k largest logits of features (N, d) and their classes, (N, k) each."""
        vectors = self.class_vectors
        if not vectors.prefers_chunking(len(features)):
            return Top(*self(features).topk(k, dim=1))
        return topk(self.project(features), vectors, k, **self._switches())

    @torch.no_grad()
    def predict_proba(self, features: Tensor, k: int = 1) -> Top:
        """The k largest probabilities among all K classes, and their classes, (N, k) each."""
        vectors = self.class_vectors
        if not vectors.prefers_chunking(len(features)):
            return Top(*self(features).softmax(dim=1).topk(k, dim=1))
        return predict_proba(self.project(features), vectors, k, **self._switches())

    def loss_and_logits(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and the logits (N, K) that came with it: one pass for both.

        Margins are in the loss only; the logits are those of ``head(features)``.
        """
        require_tensor(labels)
        self._require_imprint()
        vectors, points = self.class_vectors, self.project(features)
        takes_cosines = LOSSES[self.loss_name.name].takes == "cosines"
        logits = self._logits(vectors, points, 1.0 if takes_cosines else self._scale)
        loss = self._compute(vectors, points, logits, labels)
        return loss, logits * self._scale if takes_cosines else logits

    def begin_epoch(self, epoch: int) -> None:
        """Tell the head that epoch ``epoch`` (from 1) begins: deferred re-weighting needs it."""
        if self.reweight is not None and self.class_counts is not None:
            self.class_weights = deferred_weights(
                self.class_counts, epoch - 1, start=self.reweight - 1
            )

    @torch.no_grad()
    def set_progress(self, done: float) -> None:
        """Tell the head which share of the run's steps is done, from 0 at the first step to 1 at
        the last: a rising scale S is then S/4 + 3S/4 · done.
        """
        if self.rises_to is not None and self.scale is not None:
            self.scale.fill_(self.rises_to * (RISES_FROM + (1 - RISES_FROM) * done))

    @torch.no_grad()
    def imprint(self, features: Tensor, labels: Tensor) -> None:
        """Start from features (N, d) with labels (N,): a linear neck at their discriminants, then
        learned class vectors at the class means of what they see (``heads.imprint``).

        Which of both, and the whitening, is what ``initial`` says; of a head with
        ``initial="own"`` both are set. On the features of a trained network this is weight
        imprinting (Qi et al. 2018).

            head.imprint(features, labels)

        Raises:
            RequestError: class vectors that are not learned, or features that do not do.
        """
        start = parse_initial("imprint" if self.initial == "own" else self.initial)
        device = self.class_vectors.device
        if start.layer and isinstance(self.neck, nn.Linear):
            seen = ClassMoments(self.classes, self.features, pooled=True, device=device)
            seen.add(features, labels)
            discriminant_(self.neck, seen, start.whitening)
        elif not start.vectors:
            raise no_layer(self.initial)
        points = self.project(features)
        seen = ClassMoments(self.classes, points.shape[1], device=device)
        seen.add(points if self.logit_kind == "dot" else unit(points), labels)
        if start.vectors:
            self.imprint_means(seen.means, seen.counts)
        self.awaits_imprint = False

    @torch.no_grad()
    def imprint_means(self, means: Tensor, counts: Tensor) -> None:
        """Set the learned class vectors to class means (K, D) of n_k images (K,) each, of what
        ``project`` gives; a class without an image keeps its own first vector, and is named.

        Raises:
            RequestError: class vectors that are not learned, or means that do not do.
        """
        if not self.learn_vectors:
            raise RequestError(
                f"imprinting needs learned class vectors, got frozen {self.construction} ones; "
                "use learn_vectors=True"
            )
        rows = imprinted(means, counts, self.vectors, self.logit_kind)
        held = self.class_vectors
        if isinstance(held, StagedVectors):
            sums = in_stages(rows, len(self.maps))
            self.maps.copy_(sums.maps)
            self.choices.copy_(sums.choices)
        elif isinstance(held, QuantisedVectors):
            made = quantise(rows, len(self.tables))
            self.tables.copy_(made.tables)
            self.choices.copy_(made.choices)
        else:
            self.vectors.copy_(rows)
        self.awaits_imprint = False

    @torch.no_grad()
    def reassign(self, means: Tensor, classes: Tensor | None = None) -> int:
        """Choose the bytes of quantised vectors, or the rows of stages, anew: those whose vectors
        are nearest to class means (n, D) of unit ``project``ed features; what is trained stays.
        Returns how many classes changed.

        classes: whose means they are (n,); all K in order where not given. A mean of 0 changes
            nothing.

        Raises:
            RequestError: class vectors that are not quantised, or means that do not fit.
        """
        if not self.quantised:
            raise RequestError(
                f"reassign() needs quantised vectors, got {self.construction}; use "
                "vectors='quantised:8' or 'stages:4'"
            )
        classes = torch.arange(self.classes) if classes is None else classes
        if tuple(means.shape) != (len(classes), self.width):
            raise RequestError(
                f"reassign() needs means ({len(classes)}, {self.width}), got {tuple(means.shape)}"
            )
        known = means.any(dim=1).nonzero().squeeze(1)
        classes = classes.to(self.choices.device)[known]
        held, wanted = self.class_vectors, unit(means[known])
        # As long as the rows are now, which training may stretch or shrink.
        if isinstance(held, StagedVectors):
            length = held.rows(classes).square().sum(dim=1).mean().sqrt()
            tables = held.tables.view(len(self.maps), -1, self.width)
            found = nearest_sums(wanted * length, tables, self.choices[classes])
        else:
            length = self.tables.square().sum(dim=2).mean(dim=1).sum().sqrt()
            found = nearest_choices(wanted * length, self.tables)
        changed = int((found != self.choices[classes]).any(dim=1).sum())
        self.choices[classes] = found
        return changed

    def set_extra_state(self, state: Tensor) -> None:
        super().set_extra_state(state)
        self.awaits_imprint = False  # what was loaded began from data, or is what was wanted

    def _require_imprint(self) -> None:
        if self.awaits_imprint and self.training:
            raise RequestError(
                f"a head with initial={self.initial} begins from data, got none so far; call "
                "head.imprint(features, labels) before the first step, or let fixhead train it"
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
        old = self.class_vectors
        new = grown(old, self.construction, classes, default_generator_or(generator))
        self.hold(new, self.dtype)
        if self.bias is not None:
            added = self.bias.new_zeros(classes - old.classes)
            _place(self, "bias", torch.cat([self.bias, added]))
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
        vectors = self.class_vectors
        if not vectors.stored:
            warnings.warn(
                f"to_linear() stores all {self.classes:,} x {self.width} class vectors of a head "
                f"that stores none: {4 * self.classes * self.features / 2**20:,.1f} MiB",
                PerformanceWarning,
                stacklevel=2,
            )
        layer = to_linear(
            vectors.dense(self.dtype),
            logits=self.logit_kind,
            scale=self.scale,
            bias=self.bias,
            neck=self.neck,
            neck_name=self.neck_name,
            code_map=self.code_map,
            unit_vectors=vectors.unit_rows,
            keep=keep,
        )
        return layer.train(self.training)

    def certificate(self) -> Certificate:
        """How good the class vectors are as they stand now (``fixhead.certify``)."""
        return self.class_vectors.certificate()

    @property
    def width(self) -> int:
        """D, the size of a class vector: that of the features behind the neck."""
        return self.class_vectors.features

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
        if self.rises_to is not None:
            learned = f" (rising to {self.rises_to:g})"
        return (
            f"{self.identity}, scale {scale}{learned}, bias {self.bias is not None}, "
            f"loss {self.loss_name}" + ("" if self.initial == "own" else f", from {self.initial}")
        )

    @property
    def _scale(self) -> float | Tensor:
        return 1.0 if self.scale is None else self.scale

    def _switches(self) -> dict[str, Any]:
        return {"logits": self.logit_kind, "scale": self._scale, "bias": self.bias}

    def _logits(self, vectors: ClassVectors, points: Tensor, scale: float | Tensor) -> Tensor:
        if not vectors.stored and prefers_chunking(len(points), vectors.classes, points.device):
            warnings.warn(
                f"all {len(points):,} x {vectors.classes:,} logits are being made, "
                f"{4 * len(points) * vectors.classes / 2**20:,.0f} MiB; head.loss, head.topk and "
                "head.predict_proba need none of them",
                PerformanceWarning,
                stacklevel=4,
            )
        return vectors.logits(points, self.logit_kind, scale, self.bias)

    def _compute(
        self, vectors: ClassVectors, points: Tensor, logits: Tensor | None, labels: Tensor
    ) -> Tensor:
        return compute(
            self.loss_name,
            points,
            vectors,
            logits,
            labels,
            scale=self._scale,
            counts=self.class_counts,
            weight=self.class_weights,
        )


@torch.fx.wrap  # one step of a traced graph, which looks at the features it is given then
def _of_width(features: Tensor, width: int) -> Tensor:
    """The features, once they are known to be (N, width)."""
    if not being_traced() and features.shape[-1] != width:
        raise RequestError(
            f"the head needs features (N, {width}), got {tuple(features.shape)}; "
            "build it with the size of the backbone's features"
        )
    return features


def _place(module: nn.Module, name: str, value: Tensor | None, learned: bool = True) -> None:
    # What is absent is an absent parameter: torch.export miscounts absent buffers.
    if value is None or learned:
        module.register_parameter(name, None if value is None else nn.Parameter(value))
    else:
        module.register_buffer(name, value)

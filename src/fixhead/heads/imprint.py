"""A start from the data: class vectors at class means, and the last linear layer as discriminant.

Imprinting. With m_k the mean of the n_k features x (d,) of class k that are looked at, as the class
vectors see them,
    cosine, unit-features   w_k = m_k / ‖m_k‖
    dot                     w_k = r (m_k − m̄) / s,   m̄ = mean of the m_k, s = mean of ‖m_k − m̄‖
where r is the mean length of the head's own first vectors. A class without an image keeps its own
first vector, and is named. Source: Qi, Brown & Lowe 2018, "Low-shot learning with imprinted
weights", section 3.2; there on the unit features of a trained network.

Discriminant. Where a linear layer x = A h + a makes these features, its first values are those of
a linear discriminant analysis of its inputs h (D,). With Σ_w the covariance within classes (from
N − K degrees of freedom), λ̄ the mean of its eigenvalues λ and U its eigenvectors,
    P = U diag((λ + ρ λ̄)^(−ω/2)) Uᵀ,      ρ = 0.01, ω the whitening: 1 all of it, 0 none
    A = the first d eigenvectors of the covariance of the class means P m_k, as rows, times P
    a = −A m̄
There are at most K − 1 of them; rows beyond are the layer's own first ones, so small that their
outputs vary a tenth as much. All is brought to the mean row length of the layer's own first values,
so that a learning rate means what it meant. Source: Fisher 1936; Rao 1948.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .._errors import RequestError
from ..logits import unit

INITIAL = ("own", "imprint", "class-means", "discriminant")
"""The head's own first values; discriminant and class means; each of the two alone."""

RIDGE = 1e-2
WIDEST_LAYER = 16_384
"""The largest D of which a matrix (D, D) is made: 1 GiB of float32."""

ROUNDING = 1e-6
"""A scatter so much smaller than what it is the difference of is none."""

BEYOND = 0.1
NAMED = 5
"""So many classes are named in a sentence."""


@dataclass(frozen=True)
class Initial:
    """``"imprint:0.5"`` taken apart: what is set, and ω."""

    vectors: bool
    layer: bool
    whitening: float = 1.0


def parse_initial(text: str) -> Initial:
    """``"own"``, ``"imprint[:ω]"``, ``"class-means"`` or ``"discriminant[:ω]"``.

    Raises:
        RequestError: another word, or a whitening outside 0 … 1.
    """
    name, colon, value = text.partition(":")
    layer = name in ("imprint", "discriminant")
    if name not in INITIAL or (colon and not layer):
        raise RequestError(
            f"initial must be one of {', '.join(INITIAL)} (imprint and discriminant with an "
            f"optional whitening, as imprint:0.5), got {text!r}"
        )
    whitening = 1.0
    if colon:
        try:
            whitening = float(value)
        except ValueError:
            whitening = math.nan
        if not 0 <= whitening <= 1:
            raise RequestError(
                f"initial={name} takes a whitening from 0 to 1 after the colon, got {text!r}"
            )
    return Initial(name in ("imprint", "class-means"), layer, whitening)


def no_layer(initial: str) -> RequestError:
    """What a start of a layer is refused with where there is none to start."""
    return RequestError(
        f"initial={initial} needs a linear layer right before the class vectors that is to be "
        "trained anew, got none; put one there (--features D, or neck=linear), or use "
        "initial=class-means"
    )


class ImprintWarning(UserWarning):
    """Some class has no image to be imprinted from."""


@dataclass
class ClassMoments:
    """Sums over features h (n, D) as they come: n_k (K,), Σ h (K, D) and, where ``pooled``,
    Σ (h − o)(h − o)ᵀ (D, D) about the mean o of the first batch. K·D numbers, and D² if pooled.

    Those of several processes add up once they have one o: ``origin`` may be given.
    """

    classes: int
    width: int
    pooled: bool = False
    device: torch.device | str = "cpu"
    origin: Tensor | None = None
    counts: Tensor = field(init=False)
    sums: Tensor = field(init=False)
    square: Tensor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.pooled and self.width > WIDEST_LAYER:
            raise RequestError(
                f"initial=discriminant and imprint need a matrix of D x D numbers for a layer "
                f"that takes at most D = {WIDEST_LAYER:,}, got {self.width:,}; use "
                "initial=class-means"
            )
        self.counts = torch.zeros(self.classes, device=self.device)
        self.sums = torch.zeros(self.classes, self.width, device=self.device)
        if self.pooled:
            self.square = torch.zeros(self.width, self.width, device=self.device)

    @torch.no_grad()
    def add(self, features: Tensor, labels: Tensor) -> None:
        """A batch of features (n, D) with labels (n,).

        Raises:
            RequestError: features that are not finite.
        """
        features = features.detach().float()
        if not bool(torch.isfinite(features).all()):
            raise RequestError(
                "imprinting needs finite features, got NaN or infinity; the network's first "
                "values or the images are at fault"
            )
        if self.origin is None:
            self.origin = features.mean(dim=0)
        apart = features - self.origin
        labels = labels.long()
        self.counts.index_add_(0, labels, torch.ones_like(labels, dtype=self.counts.dtype))
        self.sums.index_add_(0, labels, apart)
        if self.square is not None:
            self.square.addmm_(apart.T, apart)

    @property
    def present(self) -> Tensor:
        """The classes with an image (C,)."""
        return self.counts.nonzero().squeeze(1)

    @property
    def means(self) -> Tensor:
        """m_k (K, D); 0 for a class without an image."""
        known = (self.counts > 0).unsqueeze(1)
        apart = self.sums / self.counts.clamp(min=1).unsqueeze(1)
        return apart if self.origin is None else (apart + self.origin) * known

    def within(self) -> Tensor:
        """Σ_w (D, D), of N − C degrees of freedom.

        Raises:
            RequestError: no class has two images, or images of one class do not differ.
        """
        assert self.square is not None
        freedom = int(self.counts.sum()) - len(self.present)
        if freedom < 1:
            raise RequestError(
                "initial=imprint and initial=discriminant need classes with two images or more, "
                "to know how images of one class differ, got one image at most of each of the "
                f"{len(self.present):,} classes; use initial=class-means"
            )
        rooted = self.sums / self.counts.clamp(min=1).sqrt().unsqueeze(1)
        scatter = self.square - rooted.T @ rooted
        if not float(scatter.trace()) > ROUNDING * float(self.square.trace()):
            raise RequestError(
                "initial=imprint and initial=discriminant need features that vary within classes, "
                "got the same for all images of every class; use initial=class-means"
            )
        return scatter / freedom


@torch.no_grad()
def discriminant_(layer: nn.Linear, moments: ClassMoments, whitening: float = 1.0) -> None:
    """Set the first values of ``layer`` (D → d) from the moments of its inputs, as above.

    Raises:
        RequestError: fewer than two classes with images, no class with two images, or inputs that
            do not vary.
    """
    present = moments.present
    if len(present) < 2:
        raise RequestError(
            f"initial=discriminant needs images of two classes or more, got {len(present)}"
        )
    means = moments.means[present]
    centre = means.mean(dim=0)
    whiten = _whitening(moments.within(), whitening)
    number = min(layer.out_features, layer.in_features, len(present) - 1)
    rows = _principal((means - centre) @ whiten.T, number) @ whiten
    own = layer.weight.detach().float()
    length = torch.linalg.vector_norm(own, dim=1).mean()
    if number < layer.out_features:
        rows = torch.cat([rows, _beyond(own[number:], rows, moments, means)])
    rows = rows * (length / torch.linalg.vector_norm(rows[:number], dim=1).mean())
    layer.weight.copy_(_signed(rows))
    if layer.bias is not None:
        layer.bias.copy_(-(layer.weight.float() @ centre))


def _whitening(within: Tensor, share: float) -> Tensor:
    """P (D, D), or all of it turned by a rotation: the discriminants are the same."""
    if share == 1:  # a tenth of the time
        ridged = within.clone()
        ridged.diagonal().add_(RIDGE * within.diagonal().mean())
        whole = torch.eye(len(ridged), device=ridged.device)
        factor: Tensor = torch.linalg.cholesky(ridged)
        turned: Tensor = torch.linalg.solve_triangular(factor, whole, upper=False)
        return turned
    values, vectors = torch.linalg.eigh(within)
    powers = (values.clamp(min=0) / values.mean() + RIDGE).pow(-share / 2)
    whiten: Tensor = (vectors * powers) @ vectors.T
    return whiten


def _principal(points: Tensor, number: int) -> Tensor:
    """The first eigenvectors (number, D) of XᵀX, X (C, D), by the smaller of two matrices."""
    if len(points) < points.shape[1]:
        values, vectors = torch.linalg.eigh(points @ points.T)
        lengths = values[-number:].clamp(min=1e-30).sqrt()
        rows: Tensor = vectors[:, -number:].T @ points / lengths.unsqueeze(1)
    else:
        rows = torch.linalg.eigh(points.T @ points)[1][:, -number:].T
    return rows.flip(0)


def _beyond(own: Tensor, rows: Tensor, moments: ClassMoments, means: Tensor) -> Tensor:
    """The layer's own rows at a length at which their outputs vary ``BEYOND`` times as much."""
    apart = means - means.mean(dim=0)

    def spread(weights: Tensor) -> Tensor:
        within = ((weights @ moments.within()) * weights).sum(dim=1)
        return (within + (weights @ apart.T).square().mean(dim=1)).clamp(min=0).sqrt()

    wanted = BEYOND * spread(rows).mean()
    return own * (wanted / spread(own).clamp(min=1e-12)).unsqueeze(1)


def _signed(rows: Tensor) -> Tensor:
    """Rows whose largest entry is positive: an eigenvector's sign is the library's choice."""
    largest = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
    return rows * torch.where(largest < 0, -1.0, 1.0)


@torch.no_grad()
def imprinted(means: Tensor, counts: Tensor, own: Tensor, logits: str) -> Tensor:
    """The first class vectors (K, d) from class means (K, d) of n_k images (K,), as above.

    own: the head's own first vectors (K, d), kept where a class has no image or its mean is 0; an
        ``ImprintWarning`` names those classes.

    Raises:
        RequestError: shapes that do not fit, means that are not finite, or features that are all 0.
    """
    if means.shape != own.shape or counts.shape != own.shape[:1]:
        raise RequestError(
            f"imprinting needs means (K, d) = {tuple(own.shape)} and counts ({len(own)},), got "
            f"{tuple(means.shape)} and {tuple(counts.shape)}"
        )
    wide = means.double()
    lengths = torch.linalg.vector_norm(wide, dim=1)
    if not bool(torch.isfinite(lengths).all()):
        raise RequestError("imprinting needs finite class means, got NaN or infinity")
    known = (counts > 0) & (lengths > 0)
    if not bool(known.any()):
        raise RequestError(
            "imprinting needs features that are not all zero, got none of any class; put "
            "BatchNorm before (--neck batchnorm), or use initial=own"
        )
    _warn_of(~known)
    if logits == "dot":
        apart = wide - wide[known].mean(dim=0)
        length = torch.linalg.vector_norm(own.double(), dim=1).mean()
        spread = torch.linalg.vector_norm(apart[known], dim=1).mean().clamp(min=1e-30)
        rows = apart * (length / spread)
    else:
        rows = unit(wide)
    return torch.where(known.unsqueeze(1), rows.to(own), own)


def _warn_of(missing: Tensor) -> None:
    classes = missing.nonzero().squeeze(1).tolist()
    if not classes:
        return
    named = ", ".join(map(str, classes[:NAMED]))
    more = f" and {len(classes) - NAMED:,} more" if len(classes) > NAMED else ""
    warnings.warn(
        f"class {named}{more} had no image (or none but zero features) to be imprinted from, and "
        "keeps its own first vector",
        ImprintWarning,
        stacklevel=4,
    )

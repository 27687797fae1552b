"""``FixedHeadClassifier``: fixed class vectors behind a learned map, as a scikit-learn classifier.

    from fixhead.sklearn import FixedHeadClassifier
    cross_val_score(make_pipeline(StandardScaler(), FixedHeadClassifier(C=0.1)), X, y)

For features that are there already. It needs scikit-learn: ``pip install "fixhead[lab]"``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ._errors import RequestError, require
from .heads.head import ClassificationHead
from .heads.necks import WIDEST
from .heads.spec import HeadSpec, parse_head
from .many_classes.vectors import DenseVectors

# Asked for first, so that one sentence says what is missing.
# ruff: noqa: E402
require("sklearn", extra="lab")

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

ROWS = 4_096
"""Features that are looked at together: their logits stay in the processor's cache."""

MEMORY = 20
"""Steps that L-BFGS remembers."""

Pass = Callable[[], float]
"""The mean loss with the parameters as they are; leaves its gradient in them."""


class FixedHeadClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Features x (N, d) → logits over class vectors W (K, D) that stay as they are: only the map
    before them is learned.

    z = S · W (A x + a), and of all A (D, d) and a (D,) those that minimise, as LogisticRegression,
        C Σ_n cross-entropy(z_n, y_n) + ½ ‖A‖²
    by L-BFGS. For ``head="auto"`` W is a simplex in D = K − 1 dimensions and S² = (K − 1)/K: S W A
    is then every matrix whose rows add up to nothing, and ‖S W A‖ = ‖A‖. This is multinomial
    logistic regression in other coordinates, with the same C and the same one answer. Steps are
    taken in coordinates in which the features have no correlation.

    Args:
        head: ``"auto"`` (a code, as the preset says, where K > 4,096), or any preset or spec, e.g.
            ``"simplex@20"``. One that names neither neck nor code_width gets a linear map to as
            many dimensions as the features have, K − 1 at least.
        C: the inverse of the penalty's strength. Where logits are cosines the length of A changes
            nothing, and the scale S takes the place of C (``"simplex@5"``).
        max_iter: steps at most; where they do not suffice, ConvergenceWarning says so.
        tol: the largest entry of the mean loss's gradient at which the steps end.
        random_state: what vectors that are drawn are drawn from.

    Attributes: ``classes_``, ``n_features_in_``, ``n_iter_``, and ``head_``, the fitted
    ``ClassificationHead``, in float64.

    Raises:
        RequestError: (a ValueError) C, max_iter or tol out of range, fewer than two classes, or a
            head that cannot be had for so many classes and features.
    """

    def __init__(
        self,
        head: str = "auto",
        *,
        C: float = 1.0,
        max_iter: int = 200,
        tol: float = 1e-4,
        random_state: Any = 0,
    ) -> None:
        self.head = head
        self.C = C
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> FixedHeadClassifier:
        """Learn the map from features (N, d) and labels (N,)."""
        self._check_settings()
        X, y = validate_data(self, X, y, dtype=(np.float32, np.float64))
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise RequestError("y needs 2 or more classes, got 1 class")
        head = self._build(X.shape[1])
        rows = torch.from_numpy(np.array(X, dtype=np.float64))
        self.n_iter_ = _fit(head, rows, torch.from_numpy(labels), self.C, self.max_iter, self.tol)
        self.head_ = head.double().eval()
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Logits (N, K); for two classes the second's minus the first's, (N,)."""
        logits = self._logits(X).numpy()
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities (N, K), the classes in the order of ``classes_``."""
        probabilities: NDArray[np.float64] = self._logits(X).softmax(dim=1).numpy()
        return probabilities

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of every row, (N,)."""
        likeliest = self._logits(X).argmax(dim=1).numpy()
        return np.asarray(self.classes_[likeliest])

    @torch.no_grad()
    def _logits(self, X: Any) -> Tensor:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        parts = [self.head_(part) for part in _blocks(torch.from_numpy(np.array(X)))]
        return torch.cat(parts)

    def _check_settings(self) -> None:
        if not self.C > 0:
            raise RequestError(f"C must be above 0, got {self.C}")
        if not self.max_iter >= 1:
            raise RequestError(f"max_iter must be 1 or more, got {self.max_iter}")
        if not self.tol > 0:
            raise RequestError(f"tol must be above 0, got {self.tol}")

    def _build(self, features: int) -> ClassificationHead:
        classes = len(self.classes_)
        arguments = head_for_features(self.head, features, classes).arguments()
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        return ClassificationHead(
            features, classes, generator=torch.Generator().manual_seed(seed), **arguments
        )


def head_for_features(head: str, features: int, classes: int) -> HeadSpec:
    """The spec of ``head`` with a learned map before its vectors."""
    if head == "auto" and classes <= WIDEST:
        scale, width = math.sqrt((classes - 1) / classes), max(classes - 1, 2)
        return parse_head(f"vectors=simplex,logits=dot,scale={scale!r},neck=linear:{width}")
    spec = parse_head(head)
    if spec.neck != "none" or spec.code_width is not None:
        return spec
    return replace(spec, neck=f"linear:{max(features, classes - 1, 2)}")


def _fit(
    head: ClassificationHead, X: Tensor, labels: Tensor, C: float, max_iter: int, tol: float
) -> int:
    """Minimise mean cross-entropy + ‖A‖²/(2CN) over all trained parameters; how many steps it took.

    With m the mean of the features and H = cov(x) + K/(CN) I = L Lᵀ, about K times the curvature at
    the start, steps are taken in B = A L; x − m stands for x, and is taken back at the end.
    """
    mean = X.mean(dim=0)
    centred = X - mean
    layer = head.neck if isinstance(head.neck, nn.Linear) else None
    number = len(X)
    strength = 1 / (C * number)
    curvature = centred.T @ centred / number
    ridge = 1e-9 * float(curvature.diagonal().max())
    curvature.diagonal().add_(head.classes * strength + ridge)
    factor = torch.linalg.cholesky(curvature)
    rows = centred.float() if layer is not None else X.float()
    if layer is not None:
        _start(head, layer, rows, labels)
    parameters = [one for one in head.parameters() if one.requires_grad]
    head.train()
    mean_loss = _pass(head, layer, rows, labels)

    def to_coordinates() -> NDArray[np.float64]:
        parts = [
            one.detach().double() @ factor if layer is not None and one is layer.weight else one
            for one in parameters
        ]
        return torch.cat([part.detach().double().reshape(-1) for part in parts]).numpy()

    def from_coordinates(values: NDArray[np.float64]) -> None:
        with torch.no_grad():
            for one, part in zip(parameters, _cut(values, parameters), strict=True):
                if layer is not None and one is layer.weight:
                    part = torch.linalg.solve_triangular(factor.T, part.T, upper=True).T
                one.copy_(part)

    def objective(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        from_coordinates(values)
        loss = mean_loss()
        gradients = []
        for one in parameters:
            assert one.grad is not None
            gradient = one.grad.double()
            if layer is not None and one is layer.weight:
                weight = one.detach().double()
                loss += strength / 2 * float(weight.square().sum())
                gradient = gradient + strength * weight
                gradient = torch.linalg.solve_triangular(factor, gradient.T, upper=False).T
            gradients.append(gradient.reshape(-1))
        return loss, torch.cat(gradients).numpy()

    found = minimize(
        objective,
        to_coordinates(),
        method="L-BFGS-B",
        jac=True,
        options={"maxiter": max_iter, "gtol": tol, "ftol": 1e-8, "maxcor": MEMORY},
    )
    from_coordinates(found.x)
    if found.nit >= max_iter:
        warnings.warn(
            f"the map was not found within max_iter={max_iter} steps; take more, scale the "
            "features, or a smaller C",
            ConvergenceWarning,
            stacklevel=3,
        )
    if layer is not None:
        with torch.no_grad():
            layer.bias.sub_((layer.weight.double() @ mean).to(layer.bias))
    return max(int(found.nit), 1)


def _blocks(rows: Tensor) -> Sequence[Tensor]:
    blocks: Sequence[Tensor] = rows.split(ROWS)  # type: ignore[no-untyped-call]
    return blocks


def _cut(values: NDArray[np.float64], like: Sequence[Tensor]) -> list[Tensor]:
    sizes = [one.numel() for one in like]
    parts: Sequence[Tensor] = torch.from_numpy(values).split(sizes)  # type: ignore[no-untyped-call]
    return [part.view_as(one) for part, one in zip(parts, like, strict=True)]


@torch.no_grad()
def _start(head: ClassificationHead, layer: nn.Linear, rows: Tensor, labels: Tensor) -> None:
    """A and a of least squares to the class vectors, where cosines are what counts; of nothing
    else, where the lengths of A x matter."""
    if head.logit_kind == "dot":
        layer.weight.zero_()
        layer.bias.zero_()
        return
    gram = (rows.T @ rows).double()
    gram.diagonal().add_(1e-2 * float(gram.diagonal().mean()) + 1e-9)
    targets = head.vectors[labels]
    if targets.shape[1] != layer.out_features:
        return
    middle = targets.mean(dim=0)
    layer.weight.copy_(torch.linalg.solve(gram, (rows.T @ (targets - middle)).double()).T)
    layer.bias.copy_(middle)


def _pass(head: ClassificationHead, layer: nn.Linear | None, rows: Tensor, labels: Tensor) -> Pass:
    """By hand where the logits are a matrix times the features, else by autograd."""
    vectors = head.class_vectors
    plain = (
        layer is not None
        and isinstance(vectors, DenseVectors)
        and not head.learn_vectors
        and head.code_map is None
        and head.logit_kind == "dot"
        and str(head.loss_name) == "cross-entropy"
        and [*head.parameters()] == [layer.weight, layer.bias]
    )
    if plain and layer is not None:
        return lambda: _matrix_pass(head, layer, rows, labels)
    return lambda: _autograd_pass(head, rows, labels)


@torch.no_grad()
def _matrix_pass(head: ClassificationHead, layer: nn.Linear, rows: Tensor, labels: Tensor) -> float:
    """z = V x + v with V = S W A, v = S W a; the gradients of V, P − Y times x, come back as those
    of A: S Wᵀ."""
    scale = 1.0 if head.scale is None else float(head.scale)
    wide = scale * head.vectors
    V, v = wide @ layer.weight, wide @ layer.bias
    grown, moved = torch.zeros_like(V), torch.zeros_like(v)
    total = 0.0
    for x, y in zip(_blocks(rows), _blocks(labels), strict=True):
        z = torch.addmm(v, x, V.T)
        z -= z.amax(dim=1, keepdim=True)
        own = y[:, None]
        right = z.gather(1, own)
        sums = z.exp_().sum(dim=1, keepdim=True)
        total += float((sums.log() - right).double().sum())
        z /= sums
        z.scatter_add_(1, own, torch.full_like(right, -1.0))
        grown.addmm_(z.T, x)
        moved += z.sum(dim=0)
    layer.weight.grad = wide.T @ grown / len(rows)
    layer.bias.grad = wide.T @ moved / len(rows)
    return total / len(rows)


def _autograd_pass(head: ClassificationHead, rows: Tensor, labels: Tensor) -> float:
    head.zero_grad()
    loss = head.loss(rows, labels)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())

"""Last layers in two dimensions: projections of features and vectors, and sectors of the plane.

class-plane   the plane through 0 that keeps most of the class vectors (geometry.planes).
pca           the plane through the mean that keeps most of the features' variance.
tsne, umap    scikit-learn's t-SNE and umap-learn's UMAP under cosine distance, of features and
              class vectors together. Neighbours mean something there; distances, angles and
              sizes do not.

Where a head sees no lengths, features and vectors are taken as directions.

Heads of two dimensions have sectors instead: which part of the circle of directions each class has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._errors import RequestError, require
from ..geometry.planes import (
    SectorLogits,
    class_plane,
    decision_areas,
    principal_plane,
    sectors,
    vanished,
)
from ..logits import unit
from ..training.step import EpochBatches
from .outputs import ModelLike, eval_mode, plain

METHODS = ("class-plane", "pca", "tsne", "umap")
DEFAULT = ("class-plane", "pca")
MAX_POINTS = 1_000
MAX_VECTORS = 500
PERPLEXITY = 30.0
_NEEDS = {"tsne": ("sklearn.manifold", "lab"), "umap": ("umap", "umap")}


def check_methods(methods: Sequence[str]) -> None:
    """Refuse unknown methods, and those whose library is not installed.

    Raises:
        RequestError: an unknown name, one said twice, or a library that is missing.
    """
    for name in methods:
        if name not in METHODS:
            raise RequestError(f"--projection must be among {', '.join(METHODS)}, got {name!r}")
        if name in _NEEDS:
            require(_NEEDS[name][0], extra=_NEEDS[name][1])
    if len(set(methods)) < len(methods):
        raise RequestError(f"--projection must name each method once, got {','.join(methods)}")


@torch.no_grad()
def describe_projections(
    model: ModelLike, batches: EpochBatches, methods: Sequence[str], *, seed: int = 0
) -> dict[str, Any]:
    """Some images' features and the class vectors in the plane, by each method.

    ``views`` hold ``points`` (n, 2), ``vectors`` (K, 2) and ``origin`` (2,), where the features'
    zero falls; None where the method has no such thing.
    """
    directions = model.head.logit_kind != "dot"
    points, logits, labels = [], [], []
    with eval_mode(model):
        for images, truth in batches.epoch(0):
            projected = model.head.project(model.features(images))
            logits.append(model.head.classify(projected).argmax(dim=1))
            points.append(projected)
            labels.append(truth)
    rows, W = torch.cat(points).double().cpu(), model.head.vectors.detach().double().cpu()
    if directions:
        rows, W = unit(rows), unit(W)
    return {
        "of": "directions" if directions else "features",
        "labels": torch.cat(labels).tolist(),
        "predictions": torch.cat(logits).tolist(),
        "views": [_view(name, rows, W, seed) for name in methods],
    }


def _view(method: str, rows: Tensor, vectors: Tensor, seed: int) -> dict[str, Any]:
    if method in _NEEDS:
        return _embedded(method, rows, vectors[:MAX_VECTORS], seed)
    plane = class_plane(vectors) if method == "class-plane" else principal_plane(rows)
    shown = vectors if len(vectors) <= MAX_VECTORS else vectors[:0]
    return {
        "method": method,
        "kept": plain(torch.tensor(plane.kept)),
        "points": _short(plane.project(rows)),
        "vectors": _short(plane.project(shown)),
        "origin": _short(plane.project(torch.zeros(1, rows.shape[1])))[0],
    }


def _embedded(method: str, rows: Tensor, vectors: Tensor, seed: int) -> dict[str, Any]:
    both = torch.cat([rows, vectors]).numpy()
    plane = torch.from_numpy(np.asarray(_embed(method, both, seed), dtype=np.float64))
    return {
        "method": method,
        "kept": None,
        "points": _short(plane[: len(rows)]),
        "vectors": _short(plane[len(rows) :]),
        "origin": None,
    }


def _embed(method: str, rows: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    library = require(_NEEDS[method][0], extra=_NEEDS[method][1])
    if method == "umap":
        neighbours = min(15, len(rows) - 1)
        reducer = library.UMAP(n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1)
    else:
        perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
        reducer = library.TSNE(
            perplexity=perplexity, metric="cosine", init="random", random_state=seed, n_jobs=1
        )
    embedded: NDArray[np.float64] = reducer.fit_transform(rows)
    return embedded


def _short(points: Tensor) -> list[list[float]]:
    """Four significant digits: more than a plot can show."""
    return [[float(f"{value:.4g}") for value in row] for row in points.tolist()]


def sector_bounds(vectors: Tensor, logits: str, *, bias: bool) -> list[list[float]] | None:
    """[label, start, stop] (radians, counter-clockwise) of every sector of vectors (K, 2).

    None where there are none: a bias lets decisions depend on the feature's length. Unit-features
    logits S ⟨w, x⟩/‖x‖ are cut as dot logits are: both order ⟨w, x⟩.
    """
    if bias:
        return None
    parts = sectors(vectors.detach().cpu(), logits=_kind(logits))
    return [[one.label, round(one.start, 5), round(one.stop, 5)] for one in parts]


def _kind(logits: str) -> SectorLogits:
    return "cosine" if logits == "cosine" else "dot"


def describe_areas(
    vectors: Tensor, logits: str, *, bias: bool, names: Sequence[str]
) -> dict[str, Any] | None:
    """Shares (K,), sectors and the classes without one, for vectors (K, 2); None for d ≠ 2.

    ``reason`` says why a head has no sectors.
    """
    if vectors.shape[1] != 2:
        return None
    if bias:
        return {"reason": "a head with a bias has no sectors: lengths count as well as directions"}
    kind = _kind(logits)
    rows = vectors.detach().cpu()
    shares = decision_areas(rows, logits=kind)
    return {
        "reason": None,
        "shares": plain(shares),
        "sectors": [
            {"label": one.label, "start": one.start, "stop": one.stop}
            for one in sectors(rows, logits=kind)
        ],
        "vanished": [names[label] for label in vanished(shares).nonzero().flatten().tolist()],
    }

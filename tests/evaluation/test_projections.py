from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA, TruncatedSVD

from fixhead import ClassificationHead, RequestError
from fixhead.evaluation.projections import check_methods, describe_projections


class _Model:
    """A model whose features are its images."""

    training = False

    def __init__(self, width: int, logits: str) -> None:
        generator = torch.Generator().manual_seed(0)
        self.head = ClassificationHead(
            width, 4, vectors="random", logits=logits, scale=1.0, bias=False, generator=generator
        )

    def features(self, images):
        return images

    def train(self, mode: bool = True):
        return self


def _batches(width: int, number: int = 90):
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(number) % 4
    centres = 3 * torch.randn(4, width, generator=generator)
    points = centres[labels] + torch.randn(number, width, generator=generator)
    parts = list(zip(points.split(32), labels.split(32), strict=True))
    return points, labels, SimpleNamespace(epoch=lambda _: parts)


def test_planes_are_those_of_scikit_learn():
    points, labels, batches = _batches(8)
    model = _Model(8, "dot")
    found = describe_projections(model, batches, ("class-plane", "pca"))
    assert found["of"] == "features"
    assert found["labels"] == labels.tolist()
    assert found["predictions"] == model.head(points).argmax(1).tolist()
    plane, pca = found["views"]
    W = model.head.vectors.detach().double().numpy()
    svd = TruncatedSVD(2, algorithm="arpack").fit(W)
    expected = points.double().numpy() @ svd.components_.T
    assert np.allclose(np.abs(plane["points"]), np.abs(expected), rtol=2e-3, atol=2e-3)
    assert plane["origin"] == [0.0, 0.0]
    assert np.allclose(
        np.abs(pca["points"]), np.abs(PCA(2).fit_transform(points.numpy())), rtol=2e-3, atol=2e-3
    )
    assert pca["kept"] == pytest.approx(
        PCA(2).fit(points.double().numpy()).explained_variance_ratio_.sum()
    )


def test_a_cosine_head_is_seen_by_directions():
    _, _, batches = _batches(2)
    found = describe_projections(_Model(2, "cosine"), batches, ("class-plane",))
    assert found["of"] == "directions"
    view = found["views"][0]
    assert view["kept"] == 1
    for rows in (view["points"], view["vectors"]):
        assert np.linalg.norm(rows, axis=1) == pytest.approx(1, rel=1e-3)


def test_tsne_puts_classes_that_are_apart_apart_and_is_repeatable():
    _, labels, batches = _batches(8)
    first, again = (describe_projections(_Model(8, "dot"), batches, ("tsne",)) for _ in range(2))
    assert first == again
    points = np.array(first["views"][0]["points"])
    assert len(first["views"][0]["vectors"]) == 4
    assert first["views"][0]["origin"] is None
    own = labels.numpy()
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (own[apart.argmin(axis=1)] == own).mean() > 0.9


@pytest.mark.filterwarnings("ignore")  # umap-learn's own, at import and for few points
def test_umap_is_used_where_it_is_installed_and_asked_for_by_name_elsewhere():
    if importlib.util.find_spec("umap") is None:
        with pytest.raises(RequestError, match=r"fixhead\[umap\]"):
            check_methods(("umap",))
        return
    _, _, batches = _batches(8)
    found = describe_projections(_Model(8, "dot"), batches, ("umap",))
    assert np.isfinite(found["views"][0]["points"]).all()


@pytest.mark.parametrize("methods", [("som",), ("pca", "pca")])
def test_unknown_and_repeated_methods_are_refused(methods):
    with pytest.raises(RequestError, match="--projection"):
        check_methods(methods)

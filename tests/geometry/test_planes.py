import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA, TruncatedSVD

from fixhead import RequestError
from fixhead.geometry.planes import class_plane, principal_plane
from fixhead.geometry.statistics import ClassStatistics, class_statistics

N, D = 120, 9


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spread(rows, size=D):
    return draw(rows, size) * torch.arange(size, 0, -1).double() + 2.0


def assert_same_up_to_signs(found, expected):
    signs = np.sign((found.numpy() * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, rtol=1e-8, atol=1e-9)


def test_the_class_plane_is_scikit_learns_truncated_svd():
    W = spread(7)
    plane, reference = class_plane(W), TruncatedSVD(2, algorithm="arpack").fit(W.numpy())
    assert_same_up_to_signs(plane.project(W), W.numpy() @ reference.components_.T)
    total = float(W.square().sum())
    assert plane.kept == pytest.approx(float(plane.project(W).square().sum()) / total)
    assert plane.origin.abs().sum() == 0


def test_the_principal_plane_is_scikit_learns_pca():
    x = spread(N)
    plane, reference = principal_plane(x), PCA(2).fit(x.numpy())
    assert_same_up_to_signs(plane.project(x), reference.transform(x.numpy()))
    assert plane.kept == pytest.approx(reference.explained_variance_ratio_.sum())


def test_statistics_of_a_stream_give_the_same_pca():
    x, labels = spread(N), torch.arange(N) % 5
    whole, streamed = principal_plane(x), principal_plane(class_statistics(x, labels, 5))
    torch.testing.assert_close(streamed.axes, whole.axes)
    torch.testing.assert_close(streamed.origin, whole.origin)
    assert streamed.kept == pytest.approx(whole.kept)


def test_axes_are_orthonormal_with_their_largest_entry_positive():
    for plane in (class_plane(spread(7)), principal_plane(-spread(N))):
        torch.testing.assert_close(plane.axes @ plane.axes.T, torch.eye(2, dtype=torch.float64))
        assert bool((plane.axes.gather(1, plane.axes.abs().argmax(dim=1, keepdim=True)) > 0).all())


def test_in_two_dimensions_the_class_plane_leaves_points_where_they_are():
    W = draw(5, 2)
    plane = class_plane(W)
    assert torch.equal(plane.project(W), W)
    assert plane.kept == 1.0


def test_vectors_in_a_plane_keep_all_their_angles():
    W = draw(6, 2) @ torch.linalg.qr(draw(D, D)).Q[:2]
    plane = class_plane(W)
    assert plane.kept == pytest.approx(1.0)
    shown = plane.project(W)
    torch.testing.assert_close(shown @ shown.T, W @ W.T)


def test_one_vector_still_spans_a_picture():
    plane = class_plane(draw(1, D))
    assert plane.project(draw(1, D)).shape == (1, 2)
    assert float(plane.project(draw(1, D))[0, 1]) == pytest.approx(0.0, abs=1e-12)


def test_narrow_points_are_projected_in_float64():
    plane = class_plane(spread(7).bfloat16())
    assert plane.project(spread(3).half()).dtype == torch.float64


def test_points_without_a_plane_are_refused():
    with pytest.raises(RequestError, match="d >= 2"):
        class_plane(torch.zeros(4, 1))
    with pytest.raises(RequestError, match="at least two features, got 1"):
        principal_plane(draw(1, D))
    with pytest.raises(RequestError, match="pooled=True"):
        principal_plane(ClassStatistics.empty(3, D, pooled=False))
    with pytest.raises(RequestError, match="NaN or infinity"):
        class_plane(torch.full((3, 4), math.nan))
    with pytest.raises(RequestError, match=r"features \(N, 9\)"):
        class_plane(spread(4)).project(draw(3, D + 1))

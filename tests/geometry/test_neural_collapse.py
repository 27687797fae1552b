import math
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg
from scipy.spatial import distance

from fixhead import RequestError
from fixhead.geometry.collapse import (
    alignment,
    alignments,
    cdnv,
    cdnv_matrix,
    class_cdnv,
    class_gram_distances,
    class_self_duality,
    class_trace_ratios,
    equiangularity,
    equinorm,
    gram_distance,
    nc1,
    relative_norms,
    self_duality,
    trace_ratio,
)
from fixhead.geometry.statistics import ClassStatistics, class_statistics
from fixhead.vectors import build

K, D, N = 7, 12, 400


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sample(seed=0, classes=K, size=D, rows=N):
    labels = torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(seed))
    labels[:classes] = torch.arange(classes)
    centres = 2 * draw(classes, size, seed=seed + 100)
    return centres[labels] + 1 + draw(rows, size, seed=seed + 200), labels


def moments(features, labels, weights="classes"):
    """Σ_W, Σ_B, means, global mean and class variances, two passes in numpy."""
    x, y = features.numpy(), labels.numpy()
    present = np.unique(y)
    means = np.stack([x[y == c].mean(axis=0) for c in present])
    counts = np.array([(y == c).sum() for c in present])
    share = (
        counts / counts.sum() if weights == "images" else np.full(len(present), 1 / len(present))
    )
    centre = share @ means
    within = np.cov(
        np.concatenate([x[y == c] - means[i] for i, c in enumerate(present)]).T, bias=True
    )
    between = sum(s * np.outer(m - centre, m - centre) for s, m in zip(share, means, strict=True))
    variances = np.array([x[y == c].var(axis=0).sum() for c in present])
    return within, between, means, centre, variances


@pytest.mark.parametrize("weights", ["classes", "images"])
@pytest.mark.parametrize("size", [3, D])  # fewer and more dimensions than classes
def test_nc1_is_the_trace_with_numpys_pseudo_inverse(size, weights):
    features, labels = sample(size=size)
    within, between, *_ = moments(features, labels, weights)
    expected = np.trace(within @ linalg.pinvh(between, rtol=1e-10)) / K
    stats = class_statistics(features, labels, K)
    assert float(nc1(stats, weights=weights)) == pytest.approx(expected, rel=1e-9)
    ratio = np.trace(within) / np.trace(between)
    assert float(trace_ratio(stats, weights=weights)) == pytest.approx(ratio, rel=1e-10)


def test_trace_ratios_per_class_average_to_the_whole_for_classes_of_one_size():
    labels = torch.arange(K).repeat(30)
    features = draw(K, D)[labels] + draw(30 * K, D, seed=1)
    stats = class_statistics(features, labels, K)
    _, between, _, _, variances = moments(features, labels)
    per_class = class_trace_ratios(stats)
    np.testing.assert_allclose(per_class, variances / np.trace(between), rtol=1e-10)
    assert float(per_class.mean()) == pytest.approx(float(trace_ratio(stats)))


def test_cdnv_is_the_loop_over_pairs():
    features, labels = sample()
    _, _, means, _, variances = moments(features, labels)
    apart = distance.cdist(means, means, "sqeuclidean") + np.diag(np.full(K, np.nan))
    expected = (variances[:, None] + variances) / (2 * apart)
    stats = class_statistics(features, labels, K)
    np.testing.assert_allclose(cdnv_matrix(stats), expected, rtol=1e-9)
    np.testing.assert_allclose(class_cdnv(stats), np.nanmean(expected, axis=1), rtol=1e-9)
    assert float(cdnv(stats)) == pytest.approx(np.nanmean(expected), rel=1e-9)


def test_equinorm_and_equiangularity_are_those_of_numpy():
    features, labels = sample()
    _, _, means, centre, _ = moments(features, labels)
    apart = means - centre
    norms = np.linalg.norm(apart, axis=1)
    cosines = 1 - distance.squareform(distance.pdist(apart, "cosine"))
    pairs = cosines[~np.eye(K, dtype=bool)]
    stats = class_statistics(features, labels, K)
    found = equiangularity(stats)
    assert float(equinorm(stats)) == pytest.approx(norms.std() / norms.mean(), rel=1e-10)
    np.testing.assert_allclose(relative_norms(stats), norms / norms.mean(), rtol=1e-10)
    assert float(found.std) == pytest.approx(pairs.std(), rel=1e-9)
    assert float(found.deviation) == pytest.approx(np.abs(pairs + 1 / (K - 1)).mean(), rel=1e-9)
    rows = np.abs(pairs.reshape(K, K - 1) + 1 / (K - 1)).mean(axis=1)
    np.testing.assert_allclose(found.per_class, rows, rtol=1e-9)


@pytest.mark.parametrize("centre", ["means", "both", "none"])
def test_duality_alignment_and_gram_distance_are_those_of_numpy(centre):
    features, labels = sample()
    stats, W = class_statistics(features, labels, K), draw(K, D, seed=9)
    _, _, M, middle, _ = moments(features, labels)
    V = W.numpy()
    M = M if centre == "none" else M - middle
    V = V - V.mean(axis=0) if centre == "both" else V
    apart = V / np.linalg.norm(V) - M / np.linalg.norm(M)
    gram = M @ M.T / np.linalg.norm(M @ M.T) - V @ V.T / np.linalg.norm(V @ V.T)
    own = 1 - np.array([distance.cosine(m, v) for m, v in zip(M, V, strict=True)])
    options = {"centre": centre}
    assert float(self_duality(stats, W, **options)) == pytest.approx(np.linalg.norm(apart))
    assert float(gram_distance(stats, W, **options)) == pytest.approx(np.linalg.norm(gram))
    assert float(alignment(stats, W, **options)) == pytest.approx(own.mean())
    np.testing.assert_allclose(alignments(stats, W, **options), own, rtol=1e-10)
    np.testing.assert_allclose(
        class_self_duality(stats, W, **options), np.linalg.norm(apart, axis=1), rtol=1e-10
    )
    np.testing.assert_allclose(
        class_gram_distances(stats, W, **options), np.linalg.norm(gram, axis=1), rtol=1e-10
    )


def collapsed(W, copies=20, length=3.0, offset=0.0):
    labels = torch.arange(W.shape[0]).repeat(copies)
    return class_statistics(length * W[labels] + offset, labels, W.shape[0])


@pytest.mark.parametrize("construction", ["simplex", "random", "orthonormal"])
def test_features_on_their_vectors_have_collapsed(construction):
    W = build(construction, 8, 16).double()
    stats = collapsed(W)
    assert float(nc1(stats)) < 1e-25
    assert float(trace_ratio(stats)) < 1e-25
    assert float(cdnv(stats)) < 1e-25
    assert float(alignment(stats, W)) == pytest.approx(1.0, abs=1e-15)
    assert float(gram_distance(stats, W)) < 1e-13
    assert float(self_duality(stats, W, centre="none")) < 1e-13
    assert float(self_duality(stats, W, centre="both")) < 1e-13


def test_a_collapsed_simplex_is_equinorm_equiangular_and_self_dual():
    W = build("simplex", 8, 16, dtype=torch.float64)
    stats = collapsed(W, offset=5.0)
    assert float(equinorm(stats)) < 1e-13
    assert float(equiangularity(stats).std) < 1e-13
    assert float(equiangularity(stats).deviation) < 1e-13
    assert float(self_duality(stats, W)) < 1e-13


def test_the_published_distance_punishes_features_that_reached_fixed_vectors_of_another_form():
    W = build("random", 8, 16).double()
    assert float(self_duality(collapsed(W), W)) > 0.05
    assert float(self_duality(collapsed(W), W, centre="both")) < 1e-13


def test_a_rotation_counts_for_self_duality_and_not_for_the_gram_distance():
    W = build("random", 8, 16).double()
    turn = torch.linalg.qr(draw(16, 16)).Q
    stats = collapsed(W @ turn)
    assert float(gram_distance(stats, W)) < 1e-13
    assert float(self_duality(stats, W, centre="both")) > 0.5


def test_opposite_means_have_the_largest_distance():
    W = build("simplex", 8, 16).double()
    assert float(self_duality(collapsed(-W), W)) == pytest.approx(2.0)
    assert float(alignment(collapsed(-W), W)) == pytest.approx(-1.0)


def test_cubes_around_a_simplex_give_the_values_computed_by_hand():
    # Every class: all 2^d sign vectors, so Σ_W = I; means r · simplex of K = d + 1, so
    # Σ_B = r²/d I, NC1 = d · d/r² / K, trace ratio d/r², pairs at distance² 2 r² K/d.
    d, r = 6, 2.5
    corners = torch.tensor(list(product((-1.0, 1.0), repeat=d)), dtype=torch.float64)
    W = build("simplex", d + 1, d, dtype=torch.float64)
    labels = torch.arange(d + 1).repeat_interleave(2**d)
    features = r * W[labels] + corners.repeat(d + 1, 1)
    stats = class_statistics(features, labels, d + 1)
    classes = d + 1
    assert float(nc1(stats)) == pytest.approx(d * d / r**2 / classes, rel=1e-12)
    assert float(trace_ratio(stats)) == pytest.approx(d / r**2, rel=1e-12)
    assert float(cdnv(stats)) == pytest.approx(d / (2 * r**2 * classes / d), rel=1e-12)
    assert float(alignment(stats, W)) == pytest.approx(1.0)


def test_features_without_any_class_in_them_have_the_expected_ratio():
    # tr Σ_W ~ σ²d (n − 1)/n and tr Σ_B ~ σ²d (K − 1)/(K n), up to a share of √(2/(d (K − 1))).
    classes, n, size = 10, 50, 2_000
    labels = torch.arange(classes).repeat(n)
    stats = class_statistics(draw(classes * n, size), labels, classes, pooled=False)
    expected = (n - 1) * classes / (classes - 1)
    assert float(trace_ratio(stats)) == pytest.approx(expected, rel=5 * math.sqrt(2 / 18_000))
    # Random directions are a simplex on average: μ̃ of K independent means.
    assert float(equiangularity(stats).deviation) < 5 / math.sqrt(size)
    assert abs(float(alignment(stats, draw(classes, size, seed=4)))) < 5 / math.sqrt(10 * size)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 50), scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_measures_do_not_see_a_scale_a_shift_or_a_rotation(seed, scale, shift):
    features, labels = sample(seed=seed, rows=60)
    turn = torch.linalg.qr(draw(D, D, seed=seed)).Q
    moved = scale * features @ turn + shift
    first, second = (class_statistics(x, labels, K) for x in (features, moved))
    for measure in (nc1, trace_ratio, cdnv, equinorm, lambda s: equiangularity(s).deviation):
        assert float(measure(first)) == pytest.approx(float(measure(second)), rel=1e-6)


def test_nc1_falls_as_features_close_in():
    features, labels = sample()
    means = class_statistics(features, labels, K).means[labels]
    values = [
        float(nc1(class_statistics(means + share * (features - means), labels, K)))
        for share in (1.0, 0.5, 0.1, 0.01)
    ]
    for wider, closer in pairwise(values):
        assert closer < wider
    assert values[3] == pytest.approx(1e-4 * values[0], rel=1e-9)


def test_classes_without_features_are_left_out_and_are_nan_in_their_place():
    features, labels = sample()
    whole = class_statistics(features, labels, K)
    padded = class_statistics(features, labels + 1, K + 2)
    W = draw(K, D)
    wide = torch.cat([draw(1, D, seed=5), W, draw(1, D, seed=6)])
    for measure in (nc1, trace_ratio, cdnv, equinorm):
        assert float(measure(whole)) == pytest.approx(float(measure(padded)), rel=1e-12)
    for measure in (self_duality, alignment, gram_distance):
        assert float(measure(whole, W)) == pytest.approx(float(measure(padded, wide)), rel=1e-12)
    for values, inner in (
        (class_cdnv(padded), class_cdnv(whole)),
        (class_trace_ratios(padded), class_trace_ratios(whole)),
        (relative_norms(padded), relative_norms(whole)),
        (equiangularity(padded).per_class, equiangularity(whole).per_class),
        (alignments(padded, wide), alignments(whole, W)),
        (class_gram_distances(padded, wide), class_gram_distances(whole, W)),
    ):
        assert values[[0, K + 1]].isnan().all()
        torch.testing.assert_close(values[1:-1], inner)
    assert cdnv_matrix(padded)[0].isnan().all()


@pytest.mark.parametrize("present", [0, 1])
def test_fewer_than_two_classes_leave_the_measures_undefined(present):
    stats = class_statistics(draw(4 * present, D), torch.zeros(4 * present, dtype=torch.int64), K)
    for measure in (nc1, trace_ratio, cdnv, equinorm, lambda s: equiangularity(s).std):
        assert math.isnan(measure(stats))
    assert class_cdnv(stats).isnan().all()
    assert cdnv_matrix(stats).isnan().all()


def test_class_means_that_coincide_leave_nc1_undefined_and_not_zero():
    labels = torch.tensor([0, 0, 1, 1])
    features = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    stats = class_statistics(features, labels, 2)
    assert math.isnan(nc1(stats))
    assert math.isnan(trace_ratio(stats))
    assert float(cdnv(stats)) == math.inf


def test_a_feature_that_is_not_finite_shows_in_every_measure():
    features, labels = sample()
    features[3, 2] = math.nan
    stats, W = class_statistics(features, labels, K), draw(K, D)
    for measure in (nc1, trace_ratio, cdnv, equinorm, lambda s: equiangularity(s).deviation):
        assert math.isnan(measure(stats))
    for measure in (self_duality, alignment, gram_distance):
        assert math.isnan(measure(stats, W))


def test_many_classes_go_through_in_tiles_with_the_same_values(monkeypatch):
    from fixhead.geometry import collapse

    features, labels = sample()
    stats, W = class_statistics(features, labels, K), draw(K, D)

    def everything():
        found = equiangularity(stats)
        return torch.cat([
            class_cdnv(stats), found.per_class, found.std[None], class_gram_distances(stats, W)
        ])  # fmt: skip

    whole = everything()
    monkeypatch.setattr(collapse, "_TILE", 3)
    torch.testing.assert_close(everything(), whole, rtol=1e-12, atol=1e-13)


def test_what_cannot_be_answered_is_refused_in_one_sentence():
    stats = ClassStatistics.empty(K, D, pooled=False)
    with pytest.raises(RequestError, match="pooled=True, or use trace_ratio"):
        nc1(stats)
    with pytest.raises(RequestError, match=r"vectors \(K, d\) = \(7, 12\), got .* \(7, 11\)"):
        self_duality(stats, draw(K, D - 1))
    with pytest.raises(RequestError, match="centre to be one of 'means', 'both', 'none'"):
        alignment(stats, draw(K, D), centre="all")
    with pytest.raises(RequestError, match="weights to be one of 'classes', 'images'"):
        trace_ratio(stats, weights="none")

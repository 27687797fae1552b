import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score, roc_curve

from fixhead import RequestError
from fixhead.geometry.detection import (
    auroc,
    energy,
    fit_residual,
    fpr_at,
    k_nearest,
    largest_cosine,
    nearest_features,
    vim,
)

SCORES = st.lists(st.integers(0, 6), min_size=1, max_size=50)


def truth(known, other):
    return np.r_[np.ones(len(known)), np.zeros(len(other))], np.r_[known, other]


@settings(max_examples=80, deadline=None)
@given(SCORES, SCORES)
def test_auroc_is_scikit_learns_with_any_ties(known, other):
    found = auroc(torch.tensor(known).double(), torch.tensor(other).double())
    assert float(found) == pytest.approx(roc_auc_score(*truth(known, other)), abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(SCORES, SCORES, st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_fpr_is_the_first_point_of_scikit_learns_curve_that_recalls_enough(known, other, recall):
    found = fpr_at(torch.tensor(known).float(), torch.tensor(other).float(), recall=recall)
    fpr, tpr, _ = roc_curve(*truth(known, other), drop_intermediate=False)
    assert float(found) == pytest.approx(fpr[tpr >= recall - 1e-9].min(), abs=1e-12)


def test_scores_apart_alike_and_reversed_have_the_values_they_must():
    low, high = torch.arange(10.0), torch.arange(20.0, 40.0)
    assert float(auroc(high, low)) == 1.0
    assert float(auroc(low, high)) == 0.0
    assert float(auroc(torch.ones(3), torch.ones(5))) == 0.5
    assert float(fpr_at(high, low)) == 0.0
    assert float(fpr_at(torch.ones(3), torch.ones(5))) == 1.0


def test_scores_of_one_distribution_cannot_be_told_apart():
    generator = torch.Generator().manual_seed(0)
    known, other = torch.randn(2, 20_000, generator=generator)
    assert float(auroc(known, other)) == pytest.approx(0.5, abs=5 * math.sqrt(1 / 6 / 20_000))
    assert float(fpr_at(known, other)) == pytest.approx(0.95, abs=0.02)


def test_the_largest_cosine_is_scipys():
    generator = torch.Generator().manual_seed(1)
    x, W = (
        torch.randn(50, 6, generator=generator),
        5 * torch.randn(9, 6, generator=generator),
    )
    expected = (1 - cdist(x.double(), W.double(), "cosine")).max(axis=1)
    np.testing.assert_allclose(largest_cosine(x, W), expected, atol=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_allclose(largest_cosine(x, W), expected, atol=1e-6)
    assert largest_cosine(x.bfloat16(), W).dtype == torch.float32


def test_many_features_go_through_in_parts(monkeypatch):
    from fixhead.geometry import detection

    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    whole = largest_cosine(x, x[:4])
    monkeypatch.setattr(detection, "_ROWS", 7)
    torch.testing.assert_close(largest_cosine(x, x[:4]), whole)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 10.0])
def test_the_energy_is_scipys_logsumexp(temperature):
    z = 30 * torch.randn(40, 7, generator=torch.Generator().manual_seed(2))
    expected = temperature * logsumexp(z.double().numpy() / temperature, axis=1)
    np.testing.assert_allclose(energy(z, temperature=temperature), expected, rtol=1e-5)
    assert energy(z.half()).dtype == torch.float32


def test_scores_that_cannot_be_compared_are_refused():
    with pytest.raises(RequestError, match="at least one score in other"):
        auroc(torch.ones(3), torch.zeros(0))
    with pytest.raises(RequestError, match="NaN in known"):
        fpr_at(torch.tensor([math.nan]), torch.ones(3))
    with pytest.raises(RequestError, match="recall"):
        fpr_at(torch.ones(3), torch.ones(3), recall=0.0)
    with pytest.raises(RequestError, match="temperature above 0"):
        energy(torch.zeros(2, 3), temperature=0.0)
    with pytest.raises(RequestError, match="vectors"):
        largest_cosine(torch.zeros(2, 3), torch.zeros(4, 5))


def rows(count, size, seed=0):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 15), st.integers(0, 9))
def test_the_kth_nearest_is_scipys_among_unit_features(count, k, seed):
    known, x = rows(count, 5, seed), rows(12, 5, seed + 10)
    apart = [(one / one.norm(dim=1, keepdim=True)).double().numpy() for one in (x, known)]
    distances = np.sort(cdist(*apart), axis=1)
    expected = -distances[:, min(k, count) - 1]
    np.testing.assert_allclose(k_nearest(x, known, k=k), expected, atol=2e-3)
    cosines, places = nearest_features(x, known, k)
    assert places.shape == (12, min(k, count))
    assert bool((cosines[:, :-1] >= cosines[:, 1:]).all())
    np.testing.assert_array_equal(places[:, 0], cdist(*apart).argmin(axis=1))


def plain_vim(train, train_logits, x, logits, origin, principal):
    """Virtual-logit matching as the paper writes it, by the singular vectors of the features."""
    apart = train - origin
    left = np.linalg.svd(apart, full_matrices=True)[2][principal:].T
    alpha = train_logits.max(1).mean() / np.linalg.norm(apart @ left, axis=1).mean()
    return logsumexp(logits, axis=1) - alpha * np.linalg.norm((x - origin) @ left, axis=1)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("size", [5, 8])
def test_vim_is_the_papers_with_half_of_a_small_width(biased, size):
    W, b = rows(3, size, 1), rows(1, 3, 2)[0]
    train, x = rows(200, size, 3) * torch.linspace(0.1, 2, size), rows(20, size, 4)
    bias = b if biased else None
    logits = [part @ W.T + (b if biased else 0) for part in (train, x)]
    residual = fit_residual(train, logits[0], W, bias)
    assert residual.directions.shape == (size, size // 2)
    gram = residual.directions.T @ residual.directions
    torch.testing.assert_close(gram, torch.eye(size // 2), atol=1e-5, rtol=0)
    origin = -np.linalg.pinv(W.double().numpy()) @ b.double().numpy() if biased else np.zeros(size)
    expected = plain_vim(
        *(part.double().numpy() for part in (train, logits[0], x, logits[1])),
        origin,
        -(-size // 2),
    )
    np.testing.assert_allclose(vim(x, logits[1], residual), expected, rtol=1e-4, atol=1e-4)


def test_vim_tells_what_leaves_the_directions_of_training():
    train = torch.cat([rows(300, 4), torch.zeros(300, 4)], dim=1) + 0.01 * rows(300, 8, 1)
    logits = train[:, :3]
    residual = fit_residual(train, logits)
    known, other = train[:50], rows(50, 8, 2)
    scores = [vim(part, part[:, :3], residual) for part in (known, other)]
    assert float(auroc(*scores)) > 0.99


def test_without_a_direction_that_is_left_vim_is_the_energy():
    for train in (rows(9, 1), torch.zeros(9, 4)):
        residual = fit_residual(train, rows(9, 3))
        assert residual.alpha == 0.0
        torch.testing.assert_close(vim(train, train[:, :1], residual), train[:, 0])


@pytest.mark.parametrize(
    "call",
    [
        lambda: k_nearest(rows(3, 4), rows(3, 5)),
        lambda: k_nearest(rows(3, 4), rows(3, 4), k=0),
        lambda: k_nearest(rows(3, 4), rows(0, 4)),
        lambda: fit_residual(rows(0, 4), rows(0, 2)),
        lambda: fit_residual(rows(5, 4), rows(5, 2), rows(2, 3), rows(1, 2)[0]),
        lambda: vim(rows(5, 3), rows(5, 2), fit_residual(rows(5, 4), rows(5, 2))),
    ],
)
def test_features_that_do_not_fit_are_refused(call):
    with pytest.raises(RequestError):
        call()

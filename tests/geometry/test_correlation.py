import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fixhead import RequestError
from fixhead.geometry.class_cosines import cosine_matrix
from fixhead.geometry.correlation import (
    average_ranks,
    class_cosine_confusion,
    cosine_confusion,
    group_cosine_confusion,
    spearman,
    spearman_interval,
)
from fixhead.vectors import build

K = 7

VALUES = st.lists(st.integers(-3, 3), min_size=2, max_size=40)


def case(seed=3, classes=K):
    generator = torch.Generator().manual_seed(seed)
    C = cosine_matrix(torch.randn(classes, 9, generator=generator))
    M = torch.randint(12, (classes, classes), generator=generator)
    return C, M


def ordered_pairs(matrix):
    size = matrix.shape[0]
    return [matrix[i, j].item() for i in range(size) for j in range(size) if i != j]


@settings(max_examples=80, deadline=None)
@given(VALUES)
def test_ranks_with_ties_are_scipys(values):
    expected = stats.rankdata(values, method="average")
    assert np.array_equal(average_ranks(torch.tensor(values)), expected)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_spearman_is_scipys_and_symmetric(data):
    first = data.draw(VALUES)
    second = data.draw(st.lists(st.floats(-2, 2), min_size=len(first), max_size=len(first)))
    a, b = torch.tensor(first).double(), torch.tensor(second, dtype=torch.float64)
    found = float(spearman(a, b))
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-12)
        assert found == pytest.approx(float(spearman(b, a)), abs=1e-12)
        assert found == pytest.approx(float(spearman(a.exp(), b)), abs=1e-12)  # ranks only


def test_ranks_and_correlations_run_along_the_last_dimension():
    values = torch.randn(3, 4, 11, generator=torch.Generator().manual_seed(0))
    other = torch.randn(3, 4, 11, generator=torch.Generator().manual_seed(1))
    assert torch.equal(average_ranks(values)[1, 2], average_ranks(values[1, 2]))
    found = spearman(values, other)
    assert found.shape == (3, 4)
    assert float(found[2, 1]) == pytest.approx(
        stats.spearmanr(values[2, 1], other[2, 1]).statistic, abs=1e-12
    )


def test_the_correlation_is_scipys_over_ordered_pairs():
    C, M = case()
    found = cosine_confusion(C, M)
    expected = stats.spearmanr(np.round(ordered_pairs(C), 6), ordered_pairs(M)).statistic
    assert found.n == K * (K - 1)
    assert found.rho == pytest.approx(expected, abs=1e-12)
    assert found.low < found.rho < found.high
    half = 1.959964 * math.sqrt((1 + found.rho**2 / 2) / (found.n - 3))
    assert math.atanh(found.high) - math.atanh(found.rho) == pytest.approx(half)


def test_rows_are_correlated_by_true_class():
    C, M = case()
    found = class_cosine_confusion(C, M)
    for i in range(K):
        others = [j for j in range(K) if j != i]
        expected = stats.spearmanr(C[i, others].numpy().round(6), M[i, others]).statistic
        assert float(found[i]) == pytest.approx(expected, abs=1e-12)


def test_a_group_is_correlated_within_itself():
    C, M = case()
    members = torch.tensor([True, False, True, True, False, True, True])
    chosen = members.nonzero().squeeze(1)
    inside = cosine_confusion(C[chosen][:, chosen], M[chosen][:, chosen])
    assert group_cosine_confusion(C, M, members) == inside
    assert inside.n == 20


def test_confusion_that_follows_the_cosines_has_correlation_one():
    C, _ = case()
    M = (1_000 * (C + 1)).round(decimals=6)
    found = cosine_confusion(C, M)
    assert found.rho == pytest.approx(1.0)


@pytest.mark.parametrize("classes", [5, 129])  # −1/128 lies on a border of the sixth digit
def test_vectors_at_one_angle_have_no_correlation_and_the_reason_is_given(classes):
    C = cosine_matrix(build("simplex", classes, classes))
    M = torch.randint(9, (classes, classes), generator=torch.Generator().manual_seed(0))
    found = cosine_confusion(C, M)
    assert found.rho is found.low is found.high is None
    assert "same cosine" in found.reason
    assert class_cosine_confusion(C, M).isnan().all()


def test_confusion_that_never_happens_has_no_correlation():
    C, M = case()
    found = cosine_confusion(C, torch.diag(M.diagonal()))
    assert found.rho is None
    assert "confused equally often" in found.reason


def test_few_or_perfectly_ordered_pairs_have_no_interval():
    assert spearman_interval(0.5, 3) is None
    assert spearman_interval(1.0, 50) is None
    low, high = spearman_interval(0.0, 103)
    assert high == -low == pytest.approx(math.tanh(1.959964 / 10))


def test_values_that_cannot_be_ranked_are_refused():
    with pytest.raises(RequestError, match="got NaN"):
        spearman(torch.tensor([1.0, math.nan]), torch.tensor([1.0, 2.0]))
    with pytest.raises(RequestError, match="one shape"):
        spearman(torch.zeros(3), torch.zeros(4))
    with pytest.raises(RequestError, match=r"one shape \(K, K\)"):
        cosine_confusion(torch.zeros(3, 3), torch.zeros(4, 4))

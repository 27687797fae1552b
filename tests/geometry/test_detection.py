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
from fixhead.geometry.detection import auroc, energy, fpr_at, largest_cosine

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

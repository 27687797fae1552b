import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from fixhead import RequestError
from fixhead._torchvision import import_torchvision
from fixhead.geometry.calibration import (
    calibration_sums,
    expected_calibration_error,
    fit_temperature,
    maximum_calibration_error,
    reliability,
)

K, N = 5, 500


def sample(seed=0, rows=N):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, K, generator=generator, dtype=torch.float64)
    return logits, torch.randint(K, (rows,), generator=generator)


def reference(logits, labels, bins):
    """(share, gap) per bin (b/B, (b+1)/B], a plain loop in numpy."""
    p = softmax(logits.numpy(), axis=1)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels.numpy()
    shares, gaps = [], []
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        if inside.any():
            shares.append(inside.mean())
            gaps.append(abs(right[inside].mean() - confidence[inside].mean()))
    return np.array(shares), np.array(gaps)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.integers(1, 80), st.integers(1, 30))
def test_errors_are_those_of_a_plain_loop(seed, rows, bins):
    logits, labels = sample(seed, rows)
    sums = calibration_sums(logits, labels, bins=bins)
    shares, gaps = reference(logits, labels, bins)
    assert float(expected_calibration_error(sums)) == pytest.approx((shares * gaps).sum())
    assert float(maximum_calibration_error(sums)) == pytest.approx(gaps.max())


@pytest.mark.parametrize(
    ("norm", "ours"), [("l1", expected_calibration_error), ("max", maximum_calibration_error)]
)
def test_errors_agree_with_torchmetrics(norm, ours):
    import_torchvision()
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, labels = sample()
    probabilities = logits.softmax(dim=1)
    expected = multiclass_calibration_error(probabilities, labels, K, n_bins=15, norm=norm)
    assert float(ours(calibration_sums(logits, labels))) == pytest.approx(float(expected), abs=1e-6)


def test_batches_add_up_to_the_whole():
    logits, labels = sample()
    whole = calibration_sums(logits, labels)
    parts = zip(logits.split(41), labels.split(41), strict=True)
    torch.testing.assert_close(sum(calibration_sums(*part) for part in parts), whole)


def test_groups_and_classes_pool_the_images_of_their_true_classes():
    logits, labels = sample()
    sums, groups = calibration_sums(logits, labels), torch.tensor([0, 1, 1, 0, 2])
    for chosen in (groups, torch.arange(K)):
        ece = expected_calibration_error(sums, chosen)
        mce = maximum_calibration_error(sums, chosen)
        for g in range(int(chosen.max()) + 1):
            members = chosen[labels] == g
            shares, gaps = reference(logits[members], labels[members], 15)
            assert float(ece[g]) == pytest.approx((shares * gaps).sum())
            assert float(mce[g]) == pytest.approx(gaps.max())


def test_logits_that_know_nothing_are_calibrated_and_sure_ones_are_not():
    labels = torch.arange(K).repeat(20)
    flat = calibration_sums(torch.zeros(20 * K, K), labels)
    assert float(expected_calibration_error(flat)) == pytest.approx(0.0, abs=1e-7)
    sure = torch.zeros(20 * K, K)
    sure[:, 0] = 100.0
    sums = calibration_sums(sure, labels)
    assert float(expected_calibration_error(sums)) == pytest.approx(1 - 1 / K)
    perfect = calibration_sums(100 * torch.eye(K)[labels], labels)
    assert float(expected_calibration_error(perfect)) == 0.0


def test_the_diagram_holds_shares_confidences_and_accuracies():
    logits, labels = sample()
    found = reliability(calibration_sums(logits, labels, bins=10))
    p = softmax(logits.numpy(), axis=1)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels.numpy()
    inside = (confidence > 0.6) & (confidence <= 0.7)
    assert float(found.share[6]) == pytest.approx(inside.mean())
    assert float(found.confidence[6]) == pytest.approx(confidence[inside].mean())
    assert float(found.accuracy[6]) == pytest.approx(right[inside].mean())
    assert float(found.share.nansum()) == pytest.approx(1.0)
    assert math.isnan(found.accuracy[0])  # 5 classes: no confidence is below 0.2
    assert reliability(calibration_sums(logits, labels), torch.arange(K)).share.shape == (K, 15)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_logits_are_summed_in_float64(dtype):
    logits, labels = sample()
    narrow = logits.to(dtype)
    sums = calibration_sums(narrow, labels)
    assert sums.dtype == torch.float64
    exact = calibration_sums(narrow.double(), labels)
    torch.testing.assert_close(sums.sum(dim=2), exact.sum(dim=2), rtol=1e-6, atol=1e-6)


def test_a_confidence_of_exactly_one_belongs_to_the_last_bin():
    sums = calibration_sums(torch.tensor([[200.0, 0.0]]), torch.tensor([0]), bins=4)
    assert sums[0, 0].tolist() == [0, 0, 0, 1]


def test_bins_logits_and_labels_that_do_not_fit_are_refused():
    logits, labels = sample()
    with pytest.raises(RequestError, match="bins >= 1, got 0"):
        calibration_sums(logits, labels, bins=0)
    with pytest.raises(RequestError, match=r"floating logits \(N, K\)"):
        calibration_sums(labels, labels)
    with pytest.raises(RequestError, match="labels in 0 … 4"):
        calibration_sums(logits, labels + K)


@pytest.mark.parametrize("seed", range(4))
def test_the_temperature_is_the_minimum_that_scipy_finds(seed):
    logits, labels = sample(seed)
    logits[torch.arange(N), labels] += 1.5 * seed
    rest = 1 / (N + 2)
    q = np.full((N, K), rest / (K - 1))
    q[np.arange(N), labels] = 1 - rest

    def loss(log_t):
        z = logits.numpy() / np.exp(log_t)
        return (logsumexp(z, axis=1) - (q * z).sum(axis=1)).mean()

    best = minimize_scalar(loss, bounds=(np.log(0.01), np.log(100)), method="bounded",
                           options={"xatol": 1e-10})  # fmt: skip
    assert fit_temperature(logits, labels) == pytest.approx(np.exp(best.x), rel=1e-5)


def test_a_temperature_undoes_a_factor_and_no_shift():
    logits, labels = sample()
    logits[torch.arange(N), labels] += 2
    plain = fit_temperature(logits, labels)
    shifted = 7 * logits + torch.arange(N, dtype=torch.float64)[:, None]
    assert fit_temperature(shifted, labels) == pytest.approx(7 * plain, rel=1e-8)


def test_where_every_image_is_right_the_temperature_stays_above_zero():
    logits = torch.eye(K).repeat(20, 1)
    temperature = fit_temperature(logits, torch.arange(K).repeat(20))
    # (K − 1) e^(−β) = ε / (1 − ε) at the minimum, ε = 1/(N + 2)
    assert 1 / temperature == pytest.approx(math.log((K - 1) * 101), rel=1e-6)


def test_logits_that_say_less_than_chance_get_the_hottest_temperature():
    logits, labels = sample()
    logits[torch.arange(N), labels] -= 5
    assert fit_temperature(logits, labels) == pytest.approx(100, rel=1e-3)


@pytest.mark.parametrize(
    "bad", [torch.ones(3), torch.full((2, 3), math.nan), torch.ones((2, 3), dtype=torch.int32)]
)
def test_a_temperature_needs_finite_logits(bad):
    with pytest.raises(RequestError, match="fit_temperature"):
        fit_temperature(bad, torch.zeros(2, dtype=torch.int64))

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead import RequestError
from fixhead.geometry.statistics import ClassStatistics, class_statistics, merge, regroup, update_

K, D, N = 6, 5, 240


def sample(seed=0, rows=N, classes=K, size=D, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=generator)
    features = torch.randn(rows, size, generator=generator, dtype=torch.float64)
    return (3 + features + labels.unsqueeze(1)).to(dtype), labels


def reference(features, labels, classes=K):
    """Two passes in numpy float64."""
    x, y = features.double().numpy(), labels.numpy()
    counts = np.bincount(y, minlength=classes)
    means, scatters = np.zeros((classes, x.shape[1])), np.zeros(classes)
    scatter = np.zeros((x.shape[1], x.shape[1]))
    for c in np.unique(y):
        own = x[y == c]
        means[c] = own.mean(axis=0)
        scatters[c] = ((own - means[c]) ** 2).sum()
        scatter += (own - means[c]).T @ (own - means[c])
    return counts, means, scatters, scatter


def assert_statistics(stats, expected, rtol=1e-12, atol=1e-12):
    stats = stats.wide()
    found = (stats.counts, stats.means, stats.scatters, stats.scatter)
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(value.numpy(), wanted, rtol=rtol, atol=atol)


def in_batches(features, labels, size, **options):
    stats = ClassStatistics.empty(K, features.shape[1], **options)
    for x, y in zip(features.split(size), labels.split(size), strict=True):
        update_(stats, x, y)
    return stats


@pytest.mark.parametrize("size", [1, 7, 64, N])
def test_batches_of_any_size_give_what_two_passes_over_everything_give(size):
    features, labels = sample()
    assert_statistics(in_batches(features, labels, size), reference(features, labels))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_cut_and_any_order_of_merging_give_the_same(data):
    rows = data.draw(st.integers(1, 40))
    features, labels = sample(seed=data.draw(st.integers(0, 9)), rows=rows)
    cuts = sorted(data.draw(st.lists(st.integers(0, rows), max_size=4)))
    bounds = list(zip([0, *cuts], [*cuts, rows], strict=True))
    parts = [class_statistics(features[a:b], labels[a:b], K) for a, b in bounds]
    merged = ClassStatistics.empty(K, D)
    for part in data.draw(st.permutations(parts)):
        merged = merge(merged, part)
    assert_statistics(merged, reference(features, labels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_features_are_summed_in_float64(dtype):
    features, labels = sample(dtype=dtype)
    assert_statistics(in_batches(features, labels, 16), reference(features, labels))


def test_float32_sums_carry_their_rounding_along():
    generator = torch.Generator().manual_seed(1)
    features = 10 + torch.randn(12_000, 3, generator=generator)
    labels = torch.randint(K, (12_000,), generator=generator)
    expected = reference(features, labels)
    kept = in_batches(features, labels, 2, dtype=torch.float32)
    assert kept.packed.dtype == torch.float32
    found = kept.wide()
    error = abs(found.scatters.numpy() / expected[2] - 1).max()
    plain = torch.zeros(K)
    for x, y, mean in zip(features, labels, torch.tensor(expected[1])[labels], strict=True):
        plain[y] += (x - mean).square().sum()
    without = abs(plain.double().numpy() / expected[2] - 1).max()
    assert error < 1e-6
    assert error < without / 2
    np.testing.assert_allclose(found.means.numpy(), expected[1], rtol=1e-7)
    np.testing.assert_allclose(found.scatter.numpy(), expected[3], rtol=2e-6, atol=0.1)


def test_float32_statistics_merge_as_float64_ones_do():
    features, labels = sample()
    parts = [
        class_statistics(features[a:b], labels[a:b], K) for a, b in ((0, 50), (50, 51), (51, N))
    ]
    narrow = []
    for a, b in ((0, 50), (50, 51), (51, N)):
        stats = ClassStatistics.empty(K, D, dtype=torch.float32)
        narrow.append(update_(stats, features[a:b], labels[a:b]))
    exact, rounded = merge(merge(*parts[:2]), parts[2]), merge(merge(*narrow[:2]), narrow[2])
    np.testing.assert_allclose(rounded.wide().packed, exact.packed, rtol=1e-5, atol=1e-4)


def test_a_large_offset_does_not_drown_the_scatter():
    features, labels = sample()
    far = features + 1e8
    found = in_batches(far, labels, 8).scatters.numpy()
    np.testing.assert_allclose(found, reference(far, labels)[2], rtol=1e-6)


def test_features_that_are_all_alike_have_no_scatter():
    labels = torch.arange(K).repeat(50)
    features = torch.randn(K, D, generator=torch.Generator().manual_seed(0))[labels]
    stats = in_batches(features, labels, 17)
    assert stats.scatters.max() < 1e-26
    assert stats.scatter.abs().max() < 1e-26


def test_a_class_without_features_has_count_0_and_mean_0():
    features, labels = sample()
    labels = labels.clamp(max=K - 2)
    stats = class_statistics(features, labels, K)
    assert stats.counts[K - 1] == 0
    assert stats.means[K - 1].abs().sum() == 0
    assert_statistics(stats, reference(features, labels))


def test_no_features_at_all_change_nothing():
    stats = class_statistics(*sample(), K)
    before = stats.packed.clone()
    update_(stats, torch.zeros(0, D), torch.zeros(0, dtype=torch.int64))
    assert torch.equal(stats.packed, before)
    assert torch.equal(merge(stats, ClassStatistics.empty(K, D)).packed, before)


def test_without_pooling_the_matrix_is_left_out_and_the_rest_is_the_same():
    features, labels = sample()
    whole, lean = (in_batches(features, labels, 16, pooled=p) for p in (True, False))
    assert lean.scatter is None
    assert lean.packed.numel() == K * (D + 2)
    assert torch.equal(whole.means, lean.means)
    assert torch.equal(whole.scatters, lean.scatters)


def test_regrouped_classes_are_as_if_they_had_been_one_from_the_start():
    features, labels = sample()
    groups = torch.tensor([0, 1, 1, 2, 0, 2])
    found = regroup(class_statistics(features, labels, K), groups, 4)
    assert_statistics(found, reference(features, groups[labels], 4))


def test_one_group_gives_the_covariance_of_all_features():
    features, labels = sample()
    found = regroup(class_statistics(features, labels, K), torch.zeros(K, dtype=torch.int64), 1)
    np.testing.assert_allclose(found.scatter / N, np.cov(features.T.numpy(), bias=True), rtol=1e-12)


def test_inputs_keep_their_values_and_no_gradient_is_recorded():
    features, labels = sample(dtype=torch.float32)
    features.requires_grad_()
    before = features.detach().clone()
    stats = class_statistics(features, labels, K)
    assert not stats.packed.requires_grad
    assert torch.equal(features.detach(), before)


def test_autocast_does_not_reach_the_sums():
    features, labels = sample(dtype=torch.float32)
    for dtype in (torch.float64, torch.float32):
        plain = in_batches(features, labels, 16, dtype=dtype)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = in_batches(features, labels, 16, dtype=dtype)
        assert torch.equal(plain.packed, inside.packed)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), r"floating features \(N, d\)"),
        (torch.zeros(3, D).long(), torch.zeros(3, dtype=torch.int64), "floating features"),
        (torch.zeros(3, D + 1), torch.zeros(3, dtype=torch.int64), r"features \(N, 5\)"),
        (torch.zeros(3, D), torch.zeros(2, dtype=torch.int64), r"integer labels \(3,\)"),
        (torch.zeros(3, D), torch.zeros(3), "integer labels"),
        (torch.zeros(3, D), torch.tensor([0, 1, K]), "labels in 0 … 5 for classes=6, got 6"),
        (torch.zeros(3, D), torch.tensor([0, -1, 2]), "got -1"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(features, labels, message):
    stats = ClassStatistics.empty(K, D)
    with pytest.raises(RequestError, match=message) as error:
        update_(stats, features, labels)
    assert "\n" not in str(error.value)
    assert stats.packed.abs().sum() == 0


def test_sizes_types_and_forms_that_do_not_fit_are_refused():
    with pytest.raises(RequestError, match="classes >= 1, got 0"):
        ClassStatistics.empty(0, D)
    with pytest.raises(RequestError, match="float64 or float32"):
        ClassStatistics.empty(K, D, dtype=torch.float16)
    with pytest.raises(RequestError, match="of one form"):
        merge(ClassStatistics.empty(K, D), ClassStatistics.empty(K, D, pooled=False))


def test_a_thousand_classes_of_512_features_take_six_megabytes():
    stats = ClassStatistics.empty(1_000, 512)
    assert stats.packed.numel() * stats.packed.element_size() == 8 * (
        1_000 + 1_000 * 512 + 1_000 + 512 * 512
    )
    assert math.isclose(stats.packed.nbytes / 1e6, 6.2, abs_tol=0.05)


_MILLION = """
import pathlib, torch
from fixhead.geometry.statistics import ClassStatistics, update_
from fixhead.geometry.collapse import nc1
stats = ClassStatistics.empty(1_000, 512)
generator = torch.Generator().manual_seed(0)
centres = torch.randn(1_000, 512, generator=generator)
noise = torch.randn(8_192, 512, generator=generator)
for start in range(0, 1_000_000, 8_000):
    labels = torch.randint(1_000, (8_000,), generator=generator)
    update_(stats, centres[labels] + noise[:8_000], labels)
assert int(stats.counts.sum()) == 1_000_000
assert 0 < float(nc1(stats)) < 10
status = pathlib.Path("/proc/self/status").read_text()  # ru_maxrss would begin with ours
print(int(status.split("VmHWM:")[1].split()[0]) / 2**20)
"""


@pytest.mark.slow
def test_a_million_features_of_512_in_1000_classes_stay_under_two_gib():
    done = subprocess.run(
        [sys.executable, "-c", _MILLION], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 2.0

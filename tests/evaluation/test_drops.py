import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead.evaluation import corruption_errors, drops, mean_accuracy, mean_corruption_error


def answers(arms, images, rate, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return (torch.rand(arms, images, generator=draws) < rate).double()


def test_the_interval_of_a_drop_is_the_normal_one_for_many_images():
    test, other = answers(1, 4000, 0.9), answers(1, 2000, 0.8, seed=1)
    found = drops(test, other).drop[0]
    p, q = float(test.mean()), float(other.mean())
    error = math.sqrt(p * (1 - p) / 4000 + q * (1 - q) / 2000)
    assert found.value == pytest.approx(p - q)
    assert found.low == pytest.approx(p - q - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(p - q + 1.96 * error, abs=0.15 * error)


def test_arms_that_answer_alike_differ_by_nothing_for_certain():
    test, other = answers(1, 300, 0.8).repeat(2, 1), answers(1, 200, 0.6).repeat(2, 1)
    found = drops(test, other)
    assert found.drop[0] == found.drop[1]
    assert (found.against[1].low, found.against[1].high) == (0.0, 0.0)


def test_paired_arms_have_a_narrower_difference_than_unpaired_ones():
    test, other = answers(1, 500, 0.8), answers(1, 500, 0.6, seed=1)
    nearly = [part.repeat(2, 1) for part in (test, other)]
    nearly[1][1, :10] = 1 - nearly[1][1, :10]
    found = drops(*nearly)
    width = found.against[1].high - found.against[1].low
    assert 0 < width < 0.3 * (found.drop[1].high - found.drop[1].low)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_intervals_hold_differences_of_shares(arms, n, m, seed):
    found = drops(answers(arms, n, 0.5, seed), answers(arms, m, 0.5, seed + 1), draws=60)
    assert len(found.drop) == len(found.against) == arms
    for one in found.drop:
        assert -1 <= one.low <= one.high <= 1
    assert found.against[0].value == found.against[0].low == found.against[0].high == 0


def test_one_seed_gives_one_interval():
    test, other = answers(2, 50, 0.7), answers(2, 60, 0.5)
    assert drops(test, other) == drops(test, other)
    assert drops(test, other, seed=1) != drops(test, other)


def test_the_corruption_error_sums_over_severities_before_dividing():
    own = {"jpeg": {1: 0.9, 5: 0.5}, "fog": {1: 0.8, 5: 0.6}}
    base = {"jpeg": {1: 0.8, 5: 0.4}, "fog": {1: 0.8, 5: 0.4}}
    errors = corruption_errors(own, base)
    assert errors == pytest.approx({"jpeg": 0.6 / 0.8, "fog": 0.6 / 0.8})
    assert mean_corruption_error(errors) == pytest.approx(0.75)
    assert mean_accuracy(own) == pytest.approx(0.7)


def test_a_baseline_without_a_mistake_leaves_the_error_undefined():
    errors = corruption_errors({"jpeg": {1: 0.9}}, {"jpeg": {1: 1.0}})
    assert errors == {"jpeg": None}
    assert mean_corruption_error(errors) is None

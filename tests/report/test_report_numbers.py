from __future__ import annotations

import math
from statistics import stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead.report import numbers


@settings(deadline=None, max_examples=200)
@given(st.floats(-1e4, 1e4), st.integers(0, 4))
def test_fixed_is_read_back_within_half_a_unit_and_never_says_minus_zero(
    value: float, digits: int
) -> None:
    text = numbers.fixed(value, digits)
    assert "-" not in text
    back = float(text.replace("−", "-"))
    assert abs(back - value) <= 0.5 * 10**-digits * (1 + 1e-9)
    assert not (back == 0 and text.startswith("−"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00004, "< 0.001"), (0.0012, "0.001"), (0.0449, "0.045"), (0.5, "0.50"), (None, "–")],
)
def test_p_values_keep_two_or_three_digits(value: float | None, text: str) -> None:
    assert numbers.p_value(value) == text


def test_signed_percent_and_spread() -> None:
    assert numbers.signed(0.456, 1) == "+0.5"
    assert numbers.signed(-0.001, 2) == "0.00"
    assert numbers.signed(-1.5, 1) == "−1.5"
    assert numbers.percent(0.96421, 1) == "96.4\u202f%"
    assert numbers.percent_spread(0.9642, 0.0031) == "96.42 ± 0.31\u202f%"
    assert numbers.percent_spread(0.9642, None) == "96.42\u202f%"
    assert numbers.percent(None) == "–"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.21, "4.2\u202fs"), (185, "3\u202fmin 05\u202fs"), (7625, "2\u202fh 07\u202fmin")],
)
def test_durations(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text


def test_counts_bytes_and_lists() -> None:
    assert numbers.count(1290000) == "1\u202f290\u202f000"
    assert numbers.memory(512 * 2**20) == "512\u202fMiB"
    assert numbers.memory(3 * 2**29) == "1.5\u202fGiB"
    assert [numbers.plural(n, "class") for n in (1, 2)] == ["1 class", "2 classes"]
    assert numbers.listing(["a", "b", "c"]) == "a, b and c"


def test_mean_and_sample_deviation() -> None:
    assert numbers.mean_std([]) == (None, None)
    assert numbers.mean_std([0.5]) == (0.5, None)
    middle, deviation = numbers.mean_std([0.1, 0.2, 0.6])
    assert middle is not None
    assert deviation is not None
    assert math.isclose(middle, 0.3)
    assert math.isclose(deviation, stdev([0.1, 0.2, 0.6]))

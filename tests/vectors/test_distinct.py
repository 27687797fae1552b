"""Counting rows that differ bit by bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead.vectors.rows import count_distinct, first_equal, first_equal_of

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 60),
    st.integers(1, 12),
    st.integers(1, 3),
    st.sampled_from(DTYPES),
    st.integers(0, 9),
)
def test_agrees_with_sorting(rows: int, columns: int, values: int, dtype: torch.dtype, seed: int):
    # Few values, so that many rows coincide; powers of two differ in their top bits only.
    generator = torch.Generator().manual_seed(seed)
    table = 2.0 ** torch.randint(-values, values + 1, (rows, columns), generator=generator)
    table = (table * (1 - 2 * torch.randint(2, (rows, columns), generator=generator))).to(dtype)
    assert count_distinct(table) == torch.unique(table.double(), dim=0).shape[0]


def test_first_equal_names_the_first():
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [3.0, 4.0], [0.0, 0.0]])
    assert first_equal(rows).tolist() == [0, 1, 0, 1, 4]


def test_signed_zeros_are_one_zero():
    assert count_distinct(torch.tensor([[0.0, 1.0], [-0.0, 1.0]])) == 1


def test_one_bit_makes_a_difference():
    rows = torch.ones(2, 512)
    rows[1, 300] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    assert count_distinct(rows) == 2


@pytest.mark.parametrize("features", [1, 7, 3000])
def test_rows_may_be_made_on_demand(features: int):
    table = torch.randn(3000, features, generator=torch.Generator().manual_seed(0))
    table[2999] = table[5]
    asked = []

    def rows(labels: torch.Tensor) -> torch.Tensor:
        asked.append(labels.numel())
        return table[labels]

    first = first_equal_of(rows, 3000, features)
    assert int((first != torch.arange(3000)).sum()) == 1
    assert int(first[2999]) == 5
    assert max(asked) * features <= 1 << 22

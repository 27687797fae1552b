"""Tiled extremes of the cosine matrix against the matrix itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead.vectors import rows as module
from fixhead.vectors.rows import ImplicitVectors, RowSource, cosine_extremes, sample_labels


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(module, "_TILE", 4)


class Made:
    """Implicit vectors over a table, which count the rows they were asked for at once."""

    def __init__(self, table: torch.Tensor) -> None:
        self.table = table
        self.most = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.table.shape)

    def rows(self, labels: torch.Tensor) -> torch.Tensor:
        self.most = max(self.most, labels.numel())
        return self.table[labels]


def cosines(rows: torch.Tensor) -> torch.Tensor:
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    return unit @ unit.T


def table(classes: int, features: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(classes, features, generator=generator)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 23), st.integers(1, 9), st.integers(0, 9))
def test_extremes_and_their_pairs_are_the_matrixs(classes: int, features: int, seed: int):
    rows = table(classes, features, seed)
    found = cosine_extremes(RowSource(rows, "test"))
    gram = cosines(rows)
    apart = ~torch.eye(classes, dtype=torch.bool)
    assert found.smallest == pytest.approx(float(gram[apart].min()), abs=1e-12)
    assert found.largest == pytest.approx(float(gram[apart].max()), abs=1e-12)
    assert found.largest_absolute == pytest.approx(float(gram[apart].abs().max()), abs=1e-12)
    for pair, value in ((found.closest, found.largest), (found.farthest, found.smallest)):
        assert pair[0] < pair[1]
        assert float(gram[pair]) == pytest.approx(value, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 23), st.integers(1, 23), st.integers(0, 9))
def test_a_sample_of_classes_is_held_against_all(classes: int, count: int, seed: int):
    rows = table(classes, 3, seed)
    source = RowSource(rows, "test")
    labels = sample_labels(source, count)
    assert labels.numel() == min(count, classes)
    found = cosine_extremes(source, labels)
    gram = cosines(rows).fill_diagonal_(-2)
    assert found.largest == pytest.approx(float(gram[labels].max()), abs=1e-12)
    gram.fill_diagonal_(2)
    assert found.smallest == pytest.approx(float(gram[labels].min()), abs=1e-12)


def test_equal_cosines_everywhere_are_fine():
    found = cosine_extremes(RowSource(torch.eye(13), "test"))
    assert (found.smallest, found.largest) == (0, 0)
    found = cosine_extremes(RowSource(torch.ones(13, 2), "test"))
    assert found.smallest == pytest.approx(1)


@pytest.mark.parametrize("classes", [2, 4, 5, 9, 13])
def test_implicit_rows_are_made_a_tile_at_a_time(classes: int):
    made = Made(table(classes, 3, 0))
    assert isinstance(made, ImplicitVectors)
    found = cosine_extremes(RowSource(made, "test"))
    assert found == cosine_extremes(RowSource(made.table, "test"))
    assert made.most <= 4


def test_float32_search_names_a_pair_that_is_computed_in_float64(monkeypatch):
    monkeypatch.setattr(module, "_FLOAT64_WORK", 0)
    rows = table(20, 80, 0)
    found = cosine_extremes(RowSource(rows, "test"))
    assert found.largest == pytest.approx(float(cosines(rows).fill_diagonal_(-2).max()), abs=1e-12)

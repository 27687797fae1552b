"""``from_tensor``: what is taken as it is, and what is refused by row."""

from __future__ import annotations

import math

import pytest
import torch

from fixhead import RequestError, vectors


def test_rows_become_unit_rows_of_the_same_direction():
    rows = torch.tensor([[3.0, 4.0], [-1e-30, 0.0], [1e300, 1e300]], dtype=torch.float64)
    expected = torch.tensor([[0.6, 0.8], [-1.0, 0.0], [math.sqrt(0.5)] * 2], dtype=torch.float64)
    assert torch.allclose(vectors.from_tensor(rows, dtype=torch.float64), expected, rtol=1e-15)


def test_the_smallest_numbers_have_a_direction_too():
    rows = torch.tensor([[5e-324, 0.0], [0.0, 5e-324]], dtype=torch.float64)
    assert torch.equal(vectors.from_tensor(rows), torch.eye(2))


def test_whole_numbers_are_taken():
    rows = torch.tensor([[1, -1], [1, 1]])
    assert torch.allclose(vectors.from_tensor(rows), rows / math.sqrt(2))


def test_the_tensor_given_is_left_alone():
    rows = torch.tensor([[3.0, 4.0], [1.0, 0.0]], requires_grad=True)
    made = vectors.from_tensor(rows)
    assert rows.tolist() == [[3.0, 4.0], [1.0, 0.0]]
    assert not made.requires_grad


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (torch.tensor([[1.0, 0.0], [0.0, math.nan]]), "NaN or infinity in row 1"),
        (torch.tensor([[1.0, 0.0], [math.inf, 0.0]]), "NaN or infinity in row 1"),
        (torch.tensor([[0.0, 0.0], [1.0, 0.0]]), "zeros only in row 0"),
        (torch.tensor([[1.0, 2.0], [0.0, 1.0], [2.0, 4.0]]), "the same in rows 0 and 2"),
        (torch.ones(3), r"got \(3,\)"),
        (torch.ones(1, 3), "classes >= 2"),
        (torch.ones(2, 0), "features >= 1"),
        (torch.eye(2, dtype=torch.complex64), "real tensor"),
        ([[1.0, 0.0], [0.0, 1.0]], "got list"),
    ],
)
def test_rows_without_a_direction_of_their_own_are_refused(rows, words):
    with pytest.raises(RequestError, match=words):
        vectors.from_tensor(rows)


def test_rows_that_collide_in_the_stored_type_are_refused():
    rows = torch.tensor([[1.0, 0.0], [1.0, 1e-4]])
    assert vectors.from_tensor(rows).shape == (2, 2)
    with pytest.raises(RequestError, match="bfloat16"):
        vectors.from_tensor(torch.tensor([[1.0, 1.0], [1.0, 1.001]]), dtype=torch.bfloat16)


def test_build_needs_the_shape_that_was_asked_for():
    assert vectors.build("from_tensor", 2, 2, tensor=torch.eye(2)).shape == (2, 2)
    with pytest.raises(RequestError, match=r"\(3, 2\), got \(2, 2\)"):
        vectors.build("from_tensor", 3, 2, tensor=torch.eye(2))
    with pytest.raises(RequestError, match="needs tensor"):
        vectors.build("from_tensor", 3, 2)

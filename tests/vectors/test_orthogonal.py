"""One-hot, non-negative orthogonal and orthoplex vectors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead import RequestError, certify, vectors

F64 = torch.float64
SETTINGS = settings(deadline=None, max_examples=25)


@SETTINGS
@given(st.integers(2, 80), st.data())
def test_nonnegative_orthogonal_rows_share_out_the_features(features: int, data: st.DataObject):
    classes = data.draw(st.integers(2, features))
    W = vectors.nonnegative_orthogonal(classes, features, dtype=F64)
    assert (W >= 0).all()
    assert torch.allclose(W @ W.T, torch.eye(classes, dtype=F64), atol=1e-12)
    assert (W > 0).sum(dim=0).tolist() == [1] * features  # every feature has one owner
    owned = (W > 0).sum(dim=1)
    assert int(owned.max()) - int(owned.min()) <= 1
    assert certify(W).reachable_nonnegative_min == pytest.approx(1.0)


def test_one_hot_is_the_identity():
    assert torch.equal(vectors.one_hot(3, 5), torch.eye(3, 5))


@SETTINGS
@given(st.integers(1, 40), st.data())
def test_orthoplex_cosines_are_zero_and_minus_one(features: int, data: st.DataObject):
    classes = data.draw(st.integers(2, 2 * features))
    W = vectors.orthoplex(classes, features, rotate=data.draw(st.booleans()), dtype=F64)
    gram = W @ W.T
    opposite = max(0, classes - features)
    assert torch.allclose(gram, gram.round(), atol=1e-12)
    assert int((gram < -0.5).sum()) == 2 * opposite
    assert int((gram > 0.5).sum()) == classes


def test_canonical_orthoplex_is_plus_and_minus_the_axes():
    W = vectors.orthoplex(6, 3, rotate=False)
    assert torch.equal(W, torch.cat([torch.eye(3), -torch.eye(3) + 0.0]))


def test_rotated_orthoplex_is_within_reach_of_nonnegative_features():
    assert certify(vectors.orthoplex(128, 64)).reachable_nonnegative_min > 0.4
    assert certify(vectors.orthoplex(128, 64, rotate=False)).reachable_nonnegative_min == 0


@pytest.mark.parametrize(
    ("name", "classes", "words"),
    [
        ("one_hot", 9, "features >= classes = 9, got features=8; simplex"),
        ("nonnegative_orthogonal", 12, "block_codes"),
        ("orthonormal", 40, "codes"),
        ("orthoplex", 17, "classes <= 2 \\* features = 16, got classes=17"),
    ],
)
def test_too_many_classes_are_sent_to_the_next_construction(name, classes, words):
    with pytest.raises(RequestError, match=words):
        vectors.build(name, classes, 8)

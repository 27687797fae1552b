import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from fixhead import ClassificationHead, RequestError
from fixhead.geometry.planes import decision_areas, sectors, vanished

TURN = 2 * math.pi

COORDINATES = st.lists(st.tuples(st.integers(-6, 6), st.integers(-6, 6)), min_size=1, max_size=12)


def draw(classes, seed=0):
    return torch.randn(classes, 2, generator=torch.Generator().manual_seed(seed)).double()


def on_circle(*degrees, lengths=1.0):
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    lengths = torch.as_tensor(lengths, dtype=torch.float64).expand(len(degrees))
    return torch.stack([angles.cos(), angles.sin()], dim=1) * lengths.unsqueeze(1)


def sampled(vectors, logits, points=200_000):
    """The share of argmax decisions over many directions."""
    angles = (torch.arange(points, dtype=torch.float64) + 0.5) * TURN / points
    rows = vectors / vectors.norm(dim=1, keepdim=True) if logits == "cosine" else vectors
    decisions = (torch.stack([angles.cos(), angles.sin()], dim=1) @ rows.T).argmax(dim=1)
    return torch.bincount(decisions, minlength=len(vectors)).double() / points


@pytest.mark.parametrize("logits", ["cosine", "dot"])
@pytest.mark.parametrize("classes", [1, 2, 3, 10, 40])
def test_areas_are_the_shares_of_sampled_decisions(classes, logits):
    W = draw(classes, seed=classes)
    found = decision_areas(W, logits=logits)
    assert float(found.sum()) == pytest.approx(1.0)
    np.testing.assert_allclose(found, sampled(W, logits), atol=3e-5)


@settings(max_examples=60, deadline=None)
@given(COORDINATES)
def test_dot_areas_hold_for_any_points_equal_in_line_or_zero(points):
    W = torch.tensor(points, dtype=torch.float64)
    found = decision_areas(W, logits="dot")
    assert float(found.sum()) == pytest.approx(1.0)
    assert bool((found >= 0).all())
    # Odd angles: no sampled direction is the normal of a side between whole-numbered points.
    np.testing.assert_allclose(found, sampled(W, "dot", 20_011), atol=3e-4)


def test_the_classes_with_a_dot_area_are_the_corners_of_scipys_hull():
    W = draw(60, seed=5)
    owners = (~vanished(decision_areas(W, logits="dot"))).nonzero().squeeze(1).tolist()
    assert owners == sorted(ConvexHull(W.numpy()).vertices.tolist())
    assert not vanished(decision_areas(W, logits="cosine")).any()


def test_areas_of_unit_vectors_are_the_same_for_dot_and_cosine():
    W = on_circle(10, 50, 130, 131, 250, 340)
    expected = torch.tensor([35, 60, 40.5, 60, 104.5, 60]) / 360
    torch.testing.assert_close(decision_areas(W), expected.double())
    torch.testing.assert_close(decision_areas(W, logits="dot"), expected.double())


def test_the_sides_of_a_square_are_the_quarters():
    for logits in ("dot", "cosine"):
        found = sectors(on_circle(0, 90, 180, 270), logits=logits)
        assert [sector.label for sector in found] == [1, 2, 3, 0]
        assert [round(math.degrees(sector.start), 9) for sector in found] == [45, 135, 225, 315]
        assert [sector.share for sector in found] == pytest.approx([0.25] * 4)


@pytest.mark.parametrize("logits", ["cosine", "dot"])
def test_sectors_cover_the_circle_once_and_hold_the_heads_decisions(logits):
    W = draw(12, seed=8).float()
    head = ClassificationHead(2, 12, vectors=W, logits=logits, scale=1.0)
    found = sectors(W, logits=logits)
    for here, after in zip(found, found[1:] + found[:1], strict=True):
        assert math.isclose(here.stop % TURN, after.start, abs_tol=1e-9)
        for share in (0.01, 0.5, 0.99):
            angle = here.start + share * (here.stop - here.start)
            x = 3 * torch.tensor([[math.cos(angle), math.sin(angle)]])
            assert int(head(x).argmax()) == here.label


def test_a_long_vector_takes_the_area_of_a_short_one_between_neighbours():
    # Three at −60°, 0°, 60°: the middle one owns a sector only while longer than cos 60°.
    for length, alive in ((0.51, True), (0.49, False)):
        W = on_circle(-60, 0, 60, 180, lengths=torch.tensor([1.0, length, 1.0, 1.0]))
        assert bool(decision_areas(W, logits="dot")[1] > 0) is alive
        assert float(decision_areas(W)[1]) == pytest.approx(60 / 360)


def test_of_equal_vectors_the_lowest_label_owns_all():
    W = on_circle(90, 0, 90, 180)
    for logits in ("cosine", "dot"):
        found = decision_areas(W, logits=logits)
        assert vanished(found).tolist() == [False, False, True, False]
    longer = on_circle(90, 0, 90, 180, lengths=torch.tensor([1.0, 1, 2, 1]))
    assert vanished(decision_areas(longer)).tolist() == [False, False, True, False]
    assert vanished(decision_areas(longer, logits="dot")).tolist() == [True, False, False, False]


def test_the_two_ways_to_write_half_a_turn_are_one_direction():
    W = torch.tensor([[1.0, 0.0], [-1.0, -0.0], [-1.0, 0.0]])
    assert vanished(decision_areas(W)).tolist() == [False, False, True]
    assert decision_areas(W).tolist() == pytest.approx([0.5, 0.5, 0.0])


def test_a_zero_vector_wins_the_dot_directions_that_all_others_lose():
    W = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert decision_areas(W, logits="dot").tolist() == pytest.approx([0.375, 0.375, 0.25])


def test_what_has_no_sectors_is_refused():
    with pytest.raises(RequestError, match=r"vectors \(K, 2\)"):
        sectors(torch.zeros(4, 3))
    with pytest.raises(RequestError, match="got a zero"):
        sectors(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(RequestError, match="NaN or infinity"):
        decision_areas(torch.tensor([[1.0, math.nan]]), logits="dot")
    with pytest.raises(RequestError, match="'dot', 'cosine'"):
        decision_areas(torch.eye(2), logits="euclid")

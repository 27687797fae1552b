"""certify, scale_auto, ce_floor and ce_at_vectors against closed forms and plain twins."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from torch.nn.functional import cross_entropy, normalize

from fixhead import RequestError, geometry, vectors
from fixhead.geometry import anchors, certificate
from fixhead.vectors.rows import RowSource

F64 = torch.float64
SETTINGS = settings(deadline=None, max_examples=25)
NAMES = (
    "construction classes features distinct norm_min norm_max cosine_min cosine_mean cosine_max "
    "abs_cosine_max welch_bound signed_bound reachable_nonnegative_min scale_auto ce_floor "
    "ce_at_vectors sampled_classes"
).split()


def gaussian(classes: int, features: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(classes, features, generator=generator, dtype=F64)


def plain_probability(W: torch.Tensor, scale: float) -> float:
    unit = normalize(W.double(), dim=1)
    return float((scale * unit @ unit.T).softmax(dim=1).diagonal().mean())


@SETTINGS
@given(st.integers(2, 60), st.integers(2, 40), st.integers(0, 3))
def test_certificate_agrees_with_the_full_cosine_matrix(classes: int, features: int, seed: int):
    W = gaussian(classes, features, seed)
    certificate = geometry.certify(W)
    unit = normalize(W, dim=1)
    cosines = (unit @ unit.T)[~torch.eye(classes, dtype=torch.bool)]
    positive = unit.clamp(min=0).norm(dim=1)
    assert certificate.cosine_min == pytest.approx(float(cosines.min()), abs=1e-12)
    assert certificate.cosine_max == pytest.approx(float(cosines.max()), abs=1e-12)
    assert certificate.cosine_mean == pytest.approx(float(cosines.mean()), abs=1e-12)
    assert certificate.abs_cosine_max == pytest.approx(float(cosines.abs().max()), abs=1e-12)
    assert certificate.norm_min == pytest.approx(float(W.norm(dim=1).min()))
    assert certificate.norm_max == pytest.approx(float(W.norm(dim=1).max()))
    reachable = float(torch.maximum(positive, unit.amax(dim=1)).min())
    assert certificate.reachable_nonnegative_min == pytest.approx(reachable)
    assert certificate.cosine_max >= certificate.signed_bound - 1e-12
    assert certificate.abs_cosine_max >= certificate.welch_bound - 1e-12


@pytest.mark.parametrize("scale", [0.5, 1.0, 20.0])
def test_ce_at_vectors_is_cross_entropy_of_the_vectors_themselves(scale: float):
    W = normalize(gaussian(30, 8), dim=1)
    expected = float(cross_entropy(scale * W @ W.T, torch.arange(30)))
    assert geometry.ce_at_vectors(W, scale) == pytest.approx(expected, rel=1e-12)


@SETTINGS
@given(st.integers(2, 50), st.integers(1, 30), st.floats(0.1, 40))
def test_no_unit_features_get_below_the_floor(classes: int, features: int, scale: float):
    W = normalize(gaussian(classes, features), dim=1)
    floor = geometry.ce_floor(W, scale)
    directed = normalize(W - W.mean(dim=0), dim=1)
    for x in (W, directed, normalize(gaussian(classes, features, 9), dim=1)):
        assert float(cross_entropy(scale * x @ W.T, torch.arange(classes))) >= floor - 1e-9


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_floor_is_exact_for_simplex_and_orthonormal_vectors(classes: int, scale: float):
    W = vectors.simplex(classes, 128, dtype=F64)
    closed = math.log1p((classes - 1) * math.exp(-scale * classes / (classes - 1)))
    assert geometry.ce_floor(W, scale) == pytest.approx(closed, rel=1e-10)
    assert geometry.ce_at_vectors(W, scale) == pytest.approx(closed, rel=1e-10)
    W = vectors.orthonormal(classes, 128, dtype=F64)
    best = normalize(W - W.mean(dim=0), dim=1)
    reached = float(cross_entropy(scale * best @ W.T, torch.arange(classes)))
    assert geometry.ce_floor(W, scale) == pytest.approx(reached, rel=1e-10)


@pytest.mark.parametrize(("classes", "scale"), [(10, 6.1), (100, 9.1), (200, 9.8), (1000, 11.5)])
def test_scale_auto_of_a_simplex_is_the_closed_form(classes: int, scale: float):
    W = vectors.simplex(classes, 1000)
    closed = math.log((classes - 1) * 99) * (classes - 1) / classes
    assert geometry.scale_auto(W) == pytest.approx(closed, rel=1e-6)
    assert closed == pytest.approx(scale, abs=0.05)


@SETTINGS
@given(st.integers(2, 60), st.integers(2, 20), st.floats(0.3, 0.999))
def test_scale_auto_is_the_root_that_scipy_finds(classes: int, features: int, probability: float):
    W = gaussian(classes, features)
    scale = geometry.scale_auto(W, probability)
    if probability <= 1 / classes:
        assert scale == 0
        return
    top = 2 * scale + 1  # two of many directions in the plane may lie very close together
    root = brentq(lambda s: plain_probability(W, s) - probability, 0, top, xtol=1e-9, rtol=1e-12)
    assert scale == pytest.approx(root, rel=1e-5)


def test_scale_auto_on_many_classes_reaches_the_probability_on_all_of_them():
    W = gaussian(3000, 16).float()
    assert plain_probability(W, geometry.scale_auto(W)) == pytest.approx(0.99, abs=1e-6)


def test_more_classes_than_the_limit_are_sampled(monkeypatch):
    monkeypatch.setattr(anchors, "ALL_CLASSES", 500)
    monkeypatch.setattr(anchors, "SAMPLE", 300)
    monkeypatch.setattr(anchors, "_TILE", 128)
    W = normalize(gaussian(2000, 12), dim=1)
    labels = anchors.anchor_labels(RowSource(W, "test"))
    assert labels.unique().numel() == 300
    scale = geometry.scale_auto(W)
    logits = scale * W[labels] @ W.T
    own = logits.softmax(dim=1)[torch.arange(300), labels]
    assert float(own.mean()) == pytest.approx(0.99, abs=1e-6)
    expected = float(cross_entropy(logits, labels))
    assert geometry.ce_at_vectors(W, scale) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("features", "drawn"),
    [(64, 256), (6, 1200)],  # few dimensions: classes differ much in how near their neighbours are
)
def test_a_sampled_scale_is_the_exact_one_within_its_standard_error(monkeypatch, features, drawn):
    W = gaussian(3000, features)
    exact = anchors.solve_scale(RowSource(W, "test"), 0.99)
    assert (exact.standard_error, exact.drawn) == (0, 3000)
    monkeypatch.setattr(anchors, "ALL_CLASSES", 500)
    monkeypatch.setattr(anchors, "SAMPLE", 1200)
    sampled = anchors.solve_scale(RowSource(W, "test"), 0.99)
    assert sampled.drawn == drawn
    assert sampled.standard_error > 0
    if drawn < 1200:
        assert sampled.standard_error <= anchors.STANDARD_ERROR * sampled.scale
    allowed = 3 * sampled.standard_error + 1e-5 * exact.scale
    assert sampled.scale == pytest.approx(exact.scale, abs=allowed)
    assert geometry.scale_auto(W) == sampled.scale


def test_a_few_near_twins_among_many_classes_count(monkeypatch):
    # A sample of the other classes would meet hardly any class's own twin.
    W = normalize(gaussian(1500, 32), dim=1)
    W = torch.cat([W, normalize(W + 0.03 * gaussian(1500, 32, seed=1), dim=1)])
    exact = geometry.scale_auto(W)
    monkeypatch.setattr(anchors, "ALL_CLASSES", 500)
    assert geometry.scale_auto(W) == pytest.approx(exact, rel=0.05)
    assert exact > 100


def test_classes_that_nearly_coincide_get_the_scale_that_parts_them():
    W = torch.tensor([[1.0, 0.0], [1.0, 1e-4], [-1.0, 0.0]], dtype=F64)
    scale = geometry.scale_auto(W)
    assert scale > 1e8
    angle = math.atan(1e-4)
    wrong = 1 / (1 + math.exp(scale * (1 - math.cos(angle))))
    assert 1 - 2 * wrong / 3 == pytest.approx(0.99, abs=1e-5)


def test_rows_that_coincide_have_no_scale_auto():
    W = torch.cat([torch.eye(4), torch.eye(4)])
    certificate = geometry.certify(W)
    assert certificate.distinct == 4
    assert certificate.cosine_max == 1
    assert certificate.scale_auto is None
    assert certificate.ce_floor["scale_auto"] is None
    assert certificate.ce_at_vectors["scale_auto"] is None
    assert "not all" in str(certificate)
    with pytest.raises(RequestError, match="coincide"):
        geometry.scale_auto(W)


def test_one_pair_among_many_may_coincide():
    W = torch.cat([torch.eye(400), torch.eye(400)[:1]])
    assert plain_probability(W, geometry.scale_auto(W)) == pytest.approx(0.99, abs=1e-6)


def test_very_many_classes_are_sampled_unless_told_otherwise(monkeypatch):
    W = gaussian(60, 4)
    assert geometry.certify(W).sampled_classes is None
    monkeypatch.setattr(certificate, "_ALL_PAIRS_WORK", 1000)
    monkeypatch.setattr(certificate, "SAMPLE", 20)
    sampled, full = geometry.certify(W), geometry.certify(W, sample=60)
    assert (sampled.sampled_classes, full.sampled_classes) == (20, None)
    assert sampled.cosine_max <= full.cosine_max
    for sample in (0, True, 2.5):
        with pytest.raises(RequestError, match="sample"):
            geometry.certify(W, sample=sample)


def test_to_dict_has_the_promised_names_and_is_json():
    facts = geometry.certify(vectors.simplex(5, 8), construction="simplex").to_dict()
    assert list(facts) == NAMES
    assert json.loads(json.dumps(facts)) == facts
    assert facts["construction"] == "simplex"
    assert set(facts["ce_floor"]) == set(facts["ce_at_vectors"]) == {"scale_1", "scale_auto"}


@pytest.mark.parametrize(
    ("W", "reason"),
    [
        (torch.ones(1, 4), "K >= 2"),
        (torch.ones(4), "K >= 2"),
        (torch.ones(3, 4, dtype=torch.int64), "floating"),
        (torch.tensor([[1.0, 0.0], [0.0, 0.0]]), r"row \[0.0, 0.0\]"),
        (torch.tensor([[1.0, 0.0], [0.0, math.nan]]), r"row \[0.0, nan\]"),
        ([[1.0, 0.0], [0.0, 1.0]], "list"),
    ],
)
def test_what_is_no_set_of_directions_is_refused(W: object, reason: str):
    with pytest.raises(RequestError, match=reason):
        geometry.certify(W)


@pytest.mark.parametrize("classes", [2, 3, 10, 200])
@pytest.mark.parametrize("probability", [0.3, 0.99, 0.9999])
@pytest.mark.parametrize("name", ["simplex", "orthonormal"])
def test_equiangular_scale_is_scale_auto_of_such_vectors(name, classes, probability):
    W = vectors.build(name, classes, 256, dtype=torch.float64)
    cosine = -1 / (classes - 1) if name == "simplex" else 0.0
    found = geometry.equiangular_scale(classes, cosine, probability)
    assert found == pytest.approx(geometry.scale_auto(W, probability), rel=1e-6, abs=1e-6)

"""Hoffer et al.: counts against real optimisers, rows against scipy, ceilings against trainings."""

import pytest
import torch
from scipy.linalg import hadamard

from fixhead import ClassificationHead
from fixhead.heads import parse_head
from fixhead.papers import PaperRequest, find
from fixhead.papers.hoffer2018.recipe import ARMS, RELEASED
from fixhead.papers.hoffer2018.repeats import ARMS as MANY
from fixhead.papers.hoffer2018.repeats import (
    CLASSES,
    PUBLISHED,
    facts,
    synthetic,
    synthetic_classes,
)
from fixhead.papers.hoffer2018.tables import BYTES, MIB, NETWORKS, STATE, count, saved_mib
from fixhead.papers.registry import build


@pytest.mark.parametrize("net", NETWORKS, ids=lambda net: net.backbone)
def test_the_networks_have_the_papers_sizes_but_for_shufflenet(net):
    found = count(None, 0, backbone=net.backbone, classes=net.classes)
    if net.backbone == "shufflenet":
        assert found["parameters"] == 1_865_728
        return
    assert found["parameters"] == net.parameters
    assert 100 * found["share"] == pytest.approx(net.share, abs=0.1)


@pytest.mark.parametrize(("name", "make"), [
    ("SGD with momentum", lambda weights: torch.optim.SGD(weights, 0.1, momentum=0.9)),
    ("Adam", lambda weights: torch.optim.Adam(weights, 0.1)),
])  # fmt: skip
def test_what_is_said_to_be_saved_is_what_an_optimiser_holds(name, make):
    K, d = 12, 16

    def held(preset):
        head = ClassificationHead.from_preset(preset, d, K)
        optimizer = make(list(head.parameters()))
        head.loss(torch.randn(8, d), torch.arange(8)).backward()
        optimizer.step()
        state = [t for one in optimizer.state.values() for t in one.values() if t.ndim]
        return sum(t.numel() * t.element_size() for t in
                   [*state, *(p.grad for p in head.parameters() if p.grad.ndim)])  # fmt: skip

    saved = held(ARMS["learned"]) - held(ARMS["fixed, orthonormal"])
    row = {"found": {"classifier": K * d}}
    assert saved / MIB == pytest.approx(saved_mib(STATE[name])(row))
    assert saved_mib(0)(row) == BYTES * K * d / MIB


@pytest.mark.parametrize(("classes", "features"), [(10, 64), (100, 64), (200, 64), (100, 342)])
def test_distinct_rows_are_those_of_scipys_matrix(classes, features):
    order = 1
    while order < max(classes, features):
        order *= 2
    rows = {tuple(row) for row in hadamard(order)[:classes, :features].tolist()}
    found = facts(None, 0, classes=classes, features=features)
    assert found["distinct"] == len(rows)
    assert found["ceiling"] == len(rows) / classes


def test_no_training_gets_released_rows_above_their_ceiling():
    head = MANY[PUBLISHED]
    found = synthetic(None, 0, head=head, epochs=4)
    ceiling = facts(None, 0, classes=CLASSES, features=64)["ceiling"]
    assert found["test_accuracy"] <= ceiling == 0.32
    assert found["train_accuracy"] <= ceiling
    learned = synthetic(None, 0, head=MANY["learned"], epochs=4)
    assert learned["test_accuracy"] > ceiling + 0.1


def test_synthetic_classes_follow_their_generator():
    first, again, other = (
        synthetic_classes(torch.Generator().manual_seed(seed), 4) for seed in (0, 0, 1)
    )
    assert torch.equal(first.train, again.train)
    assert not torch.equal(first.train, other.train)
    assert not torch.equal(first.train, first.test)
    assert first.labels.bincount().tolist() == [30] * 4


def test_as_published_the_released_modules_stand_in_for_the_repaired_ones():
    item = find("hoffer2018", "table1")
    fair = {cell.head for cell in build(item, PaperRequest("small")).cells}
    released = {cell.head for cell in build(item, PaperRequest("small", as_published=True)).cells}
    assert fair == set(ARMS.values())
    assert released == set(RELEASED.values())
    assert not any(
        parse_head(head).learn_vectors for head in fair | released if head != "learned-dot"
    )

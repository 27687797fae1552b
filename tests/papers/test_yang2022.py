"""Yang et al.: protocols, the theory's own model against its closed form, gradients by hand."""

import math

import pytest
import torch
from paper_data import mnist

from fixhead.heads import parse_head
from fixhead.logits import unit
from fixhead.papers import PaperRequest, RunOptions, find
from fixhead.papers.registry import build
from fixhead.papers.run import perform
from fixhead.papers.yang2022 import convergence, tables
from fixhead.papers.yang2022.convergence import epochs_to
from fixhead.papers.yang2022.layer_peeled import CLASSES, HEADS, LENGTH, peeled
from fixhead.papers.yang2022.recipe import (
    ARMS,
    FACTORS,
    KAIMING,
    LEARNED,
    PUBLISHED,
    small_birds,
)
from fixhead.papers.yang2022.tables import few_accuracy, rare_cosine
from fixhead.vectors import simplex

RARE, FROZEN, REGRESSED = HEADS


def heads_of(content):
    return {cell.head for cell in content.cells}


def test_the_fair_protocol_has_a_learned_and_a_frozen_baseline():
    content = build(find("yang2022", "long-tail"), PaperRequest("small"))
    assert {ARMS[LEARNED], ARMS[KAIMING]} < heads_of(content)
    assert parse_head(ARMS[LEARNED]).learn_vectors
    assert not parse_head(ARMS[KAIMING]).learn_vectors
    assert {cell.recipe.config.choose for cell in content.cells} == {"last"}
    assert not any("mixup" in cell.recipe.config.augmentation for cell in content.cells)


@pytest.mark.parametrize("scale", ["small", "full"])
def test_as_published_both_heads_are_frozen_and_the_test_set_chooses(scale):
    content = build(find("yang2022", "long-tail"), PaperRequest(scale, as_published=True))
    assert heads_of(content) == set(PUBLISHED.values())
    assert not any(parse_head(head).learn_vectors for head in heads_of(content))
    etf = next(head for head in heads_of(content) if "yang-simplex" in head)
    assert "dot-regression:batch" in etf
    assert {cell.recipe.config.choose for cell in content.cells} == {"test"}
    assert all("mixup" in cell.recipe.config.augmentation for cell in content.cells)


def test_collapse_and_convergence_need_no_training_of_their_own():
    small = PaperRequest("small")
    names = {
        name: {cell.name for cell in build(find("yang2022", name), small).cells
               if hasattr(cell, "recipe")}
        for name in ("long-tail", "balanced", "collapse", "convergence")
    }  # fmt: skip
    assert names["collapse"] < names["long-tail"] | names["balanced"]
    assert names["convergence"] < names["balanced"]


def test_every_figure_of_the_resnets_is_marked_as_recalled():
    known = [tables.printed_accuracy(data, "resnet32", f, arm)
             for data in tables.RESNET for f in FACTORS for arm in (0, 1)]  # fmt: skip
    assert {one.source for one in known} == {"recalled"}
    assert tables.printed_accuracy("cifar100", "densenet-bc-150-12", 0.01, 1).source == "paper"
    assert tables.printed_accuracy("cifar100", "densenet-bc-150-12", 0.005, 1).source == "missing"
    assert tables.printed_accuracy("mnist", "small-cnn", 0.01, 0) is None


def test_the_released_long_tail_is_planned_with_its_schedule():
    cells = build(find("yang2022", "long-tail"), PaperRequest("full")).cells
    chosen = next(cell.recipe for cell in cells if cell.recipe.config.data == "cifar100")
    recipe = chosen.config.recipe
    assert (recipe.epochs, recipe.milestones, recipe.warmup_epochs) == (200, (160, 180), 5.0)
    assert (recipe.lr, recipe.weight_decay, recipe.batch_size) == (0.1, 2e-4, 128)
    shorter = chosen.with_epochs(20).config.recipe
    assert (shorter.epochs, shorter.milestones, shorter.warmup_epochs) == (20, (16, 18), 0.5)
    assert small_birds().with_epochs(1).config.recipe.warmup_epochs <= 1


@pytest.mark.parametrize("ratio", [1, 100])
def test_free_features_end_on_a_frozen_etf_whatever_the_counts(ratio):
    found = peeled(None, 0, head=FROZEN, ratio=ratio, steps=2_000)
    assert found["smallest_cosine"] > 0.9999
    assert found["nc1"] < 1e-6
    assert found["angles"] < 1e-3
    least = math.log(1 + (CLASSES - 1) * math.exp(-LENGTH * CLASSES / (CLASSES - 1)))
    assert found["loss"] == pytest.approx(least, rel=1e-5)
    assert found["rare"] == pytest.approx(-1 / (CLASSES - 1))


def test_learned_rows_of_rare_classes_run_together():
    even = peeled(None, 0, head=RARE, ratio=1, steps=600)
    uneven = peeled(None, 0, head=RARE, ratio=1_000, steps=600)
    assert even["rare"] == pytest.approx(-1 / (CLASSES - 1), abs=0.01)
    assert uneven["rare"] > 0.3


@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_the_way_down_is_the_gradient_written_out(scale):
    K, draws = 10, torch.Generator().manual_seed(3)
    W = simplex(K, K, generator=draws, dtype=torch.float64)
    labels = torch.arange(K)
    h = unit(torch.randn(K, K, generator=draws, dtype=torch.float64))
    p = (scale * h @ W.T).softmax(dim=1)
    pull = W[labels] - p @ W  # (1 − p_y) w_y − Σ_{k≠y} p_k w_k, but for the factor S
    tangent = unit(pull - (pull * h).sum(dim=1, keepdim=True) * h)
    torch.testing.assert_close(convergence._down(h, W, labels, "cross-entropy", scale), tangent)
    way = convergence._way(h, W[labels])
    torch.testing.assert_close(convergence._down(h, W, labels, "dot regression", scale), way)


def test_dot_regression_goes_straight_and_cross_entropy_nearly():
    found = convergence.straightness(None, 0, classes=10, scale=6.0)
    assert found["dot regression"]["accuracy"] == pytest.approx(1)
    assert found["dot regression"]["detour"] == pytest.approx(0, abs=1e-6)
    assert 0.8 < found["cross-entropy"]["accuracy"] < 0.98
    assert found["cross-entropy"]["detour"] > 0.01
    assert all(found[loss]["arrived"] == 1 for loss in convergence.LOSSES)


def test_epochs_to_an_accuracy_are_counted_from_one_and_may_never_come():
    row = {"history": [{"epoch": 1, "train_accuracy": 0.2}, {"epoch": 2, "train_accuracy": 0.5}]}
    assert epochs_to(0.5)(row) == 2
    assert epochs_to(0.6)(row) is None


def test_the_rarest_classes_are_read_where_there_are_groups():
    assert few_accuracy({"group_accuracy": {"few": 0.25}}) == 0.25
    assert few_accuracy({}) is None


def test_rare_vectors_are_compared_where_there_are_groups():
    cosines = [[1.0, 0.1, 0.2], [0.1, 1.0, 0.6], [0.2, 0.6, 1.0]]
    row = {"geometry": {"class_cosines": cosines}}
    assert rare_cosine(row | {"groups": {"few": [1, 2]}}) == 0.6
    assert rare_cosine(row) is None


def test_collapse_is_measured_on_the_training_images(tmp_path):
    data = mnist(tmp_path / "mnist", training=200, test=40)
    request = PaperRequest("small", seeds=1, epochs=1)
    item = find("yang2022", "collapse")
    names = [cell.name for cell in build(item, request).cells]
    wanted = next(name for name in names if "simplex" in name and "mnist" in name)
    results = perform(item, request, tmp_path, RunOptions(data, "cpu", wanted))
    values = [row["ours"]["mean"] for row in results["rows"] if row["ours"]["n"]]
    assert len(values) >= 3
    assert all(math.isfinite(value) for value in values)

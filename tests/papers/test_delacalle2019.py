"""de la Calle et al.: readings worked out by hand, and what its figures draw."""

import math
from types import SimpleNamespace

import pytest

from fixhead.data import load, thin
from fixhead.papers import PaperRequest, delacalle2019, find
from fixhead.papers.delacalle2019 import (
    ARMS,
    class_counts,
    draw_paths,
    draw_planes,
    draw_strip,
    last_accuracy,
    train_accuracy,
    turned_deg,
    without_area,
)
from fixhead.papers.registry import build


def row(head="random", accuracy=0.5, vanished=(), epochs=2):
    """Two class vectors: one stays, the other turns by 90° over the epochs."""
    turns = [math.pi / 2 * at / (epochs - 1) for at in range(epochs)]
    return {
        "seed": 3,
        "head": ARMS[head],
        "classes": ["0", "1"],
        "last_epoch_accuracy": accuracy,
        "history": [
            {"train_accuracy": 0.1 * at,
             "collapse": {"vectors": [[2.0, 0.0], [math.cos(turn), math.sin(turn)]]}}
            for at, turn in enumerate(turns)
        ],
        "geometry": {"areas": {"vanished": list(vanished), "sectors": [{"label": 0}]}},
        "measures": {"embedding": {"points": [[0, 1]], "labels": [0], "vectors": [[1, 0]]}},
    }  # fmt: skip


def test_readings_of_a_record():
    one = row(accuracy=0.375, vanished=(1, 5, 7), epochs=4)
    assert last_accuracy(one) == 0.375
    assert train_accuracy(one) == pytest.approx(0.3)
    assert without_area(one) == 3
    assert turned_deg(one) == pytest.approx(45)


def test_a_plane_says_its_accuracy_and_the_classes_without_an_area():
    drawn = draw_planes({"a": row(accuracy=0.5, vanished=(1, 5)), "b": row() | {"measures": {}}})
    assert [panel["title"] for panel in drawn["panels"]] == [
        "seed 3: 50.0 % test accuracy, 2 classes without an area"
    ]
    assert drawn["panels"][0]["sectors"] == [{"label": 0}]
    assert draw_planes({}) is None


def test_paths_run_from_the_first_epoch_to_the_last_in_about_25_steps():
    (panel,) = draw_paths({"a": row(epochs=101)})["panels"]
    xs, ys = panel["paths"][1]
    assert (xs[0], ys[0]) == (1.0, 0.0)
    assert (xs[-1], ys[-1]) == (0.0, 1.0)
    assert 20 <= len(xs) <= 30
    assert panel["title"] == "seed 3: turned by 45° on average"


def test_the_strip_has_a_value_for_every_run_of_an_arm():
    rows = {"a": row("random", 0.4), "b": row("guided", 0.6), "c": row("random", 0.2)}
    drawn = draw_strip(rows)
    assert drawn["series"] == [
        {"name": "random", "values": [0.4, 0.2]}, {"name": "guided", "values": [0.6]},
    ]  # fmt: skip
    assert draw_strip({}) is None


def test_counts_before_and_after_thinning_are_those_of_the_data(tiny):
    whole = load("mnist", data_dir=tiny)

    def load_setting(comparison):
        kept = whole if comparison.imbalance is None else thin(whole, comparison.imbalance)
        return SimpleNamespace(dataset=kept)

    counts = class_counts(load_setting, 0)
    assert counts["balanced"] == [20] * 10
    assert counts["thinned"][:3] == [5, 3, 1]  # 20 · ½ · (½)^c for c = 1, 2, 3
    assert counts["test"] == [4] * 10
    entry = build(find("delacalle2019", "figure2"), PaperRequest("small")).entries[1]
    assert entry.read({"found": counts}) == 3


def test_guided_starts_are_above_random_ones_by_18_points_in_the_paper():
    claim = build(find("delacalle2019", "variability"), PaperRequest("full")).claims[0]
    assert (claim.first.row, claim.second.row) == ("guided", "random")
    assert claim.printed == 0.18


def test_ten_seeds_are_drawn_as_three_panels():
    for drawing in build(find("delacalle2019", "figure3"), PaperRequest("small")).figures:
        assert [cell.seed for cell in drawing.cells] == [0, 1, 2]
    assert len(delacalle2019.cells(PaperRequest("small"), "guided")) == 10

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixhead.report import comparison_charts, vectors
from fixhead.report.page import Chart
from fixhead.report.records import read_records

Make = Callable[..., Path]
Record = dict[str, Any]


def _found(figure: Chart | None) -> Chart:
    assert figure is not None
    return figure


@pytest.fixture
def run(make_comparison: Make) -> Record:
    records = read_records(make_comparison(heads=("learned-dot",), seeds=2))
    shown = records.shown("learned-dot")
    assert shown is not None
    assert shown["seed"] == 0
    return shown


def test_the_matrix_is_kept_above_the_diagonal_in_thousandths(run: Record) -> None:
    figure = _found(vectors.cosine_matrix(0, run))
    upper = iter(figure.data["upper"])
    matrix = run["geometry"]["class_cosines"]
    for i in range(10):
        for j in range(i + 1, 10):
            assert abs(next(upper) / 1000 - matrix[i][j]) <= 0.0005 + 1e-9
    assert next(upper, None) is None


def test_confusions_are_kept_whole_without_their_zeros(run: Record) -> None:
    figure = _found(vectors.confusion_by_cosine(0, run))
    rebuilt = [[0] * 10 for _ in range(10)]
    for i, flat in enumerate(figure.data["rows"]):
        assert 0 not in flat[1::2]
        for j, count in zip(flat[::2], flat[1::2], strict=True):
            rebuilt[i][j] = count
    assert rebuilt == run["geometry"]["confusion"]


def test_spearman_is_said_with_its_interval(run: Record) -> None:
    found = run["geometry"]["spearman"] = {"rho": -0.256, "low": -0.44, "high": -0.049, "n": 90}
    text = vectors.spearman_sentence(run)
    assert text == (
        "Spearman’s ρ = −0.26 (95\u202f% interval −0.44 to −0.05) over 90 ordered pairs."
    )
    found |= {"rho": None, "reason": "all pairs of class vectors have the same cosine"}
    assert "not defined: all pairs" in vectors.spearman_sentence(run)


def test_histograms_add_the_seeds_up(make_comparison: Make) -> None:
    records = read_records(make_comparison(heads=("simplex",), seeds=3))
    figure = _found(vectors.cosine_histograms(records, "own_cosine"))
    (arm,) = figure.data["arms"]
    runs = [run["geometry"]["own_cosine"] for run in records.done]
    assert sum(arm["counts"]) == 3 * 360
    assert arm["counts"][-1] == sum(run["counts"][-1] for run in runs)
    assert arm["mean"] == pytest.approx(sum(run["mean"] for run in runs) / 3, abs=1e-4)
    assert len(figure.data["edges"]) == len(arm["counts"]) + 1


def test_curves_keep_every_run_and_its_chosen_epoch(make_comparison: Make) -> None:
    records = read_records(make_comparison(heads=("simplex", "random-dot"), seeds=2, epochs=7))
    figure = _found(comparison_charts.curves(records))
    assert [len(arm) for arm in figure.data["arms"]] == [2, 2]
    first = figure.data["arms"][0][0]
    history = records.histories["simplex-seed0"]
    assert first["val_accuracy"] == [round(row["val_accuracy"], 4) for row in history]
    assert first["best"] == records.of("simplex")[0]["best_epoch"]
    assert "epochs" not in first


def test_epochs_that_do_not_count_from_one_are_written_down(make_comparison: Make) -> None:
    folder = make_comparison(heads=("simplex",), seeds=1, epochs=6)
    path = folder / "runs" / "simplex-seed0" / "history.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[::2]))
    figure = _found(comparison_charts.curves(read_records(folder)))
    assert figure.data["arms"][0][0]["epochs"] == [1, 3, 5]


def test_missing_histories_are_named_and_none_draws_nothing(make_comparison: Make) -> None:
    gone = ("simplex-seed0", "simplex-seed1")
    part = read_records(make_comparison(heads=("simplex",), seeds=2, without_history=gone[:1]))
    assert comparison_charts.without_history(part) == ["simplex-seed0"]
    assert comparison_charts.curves(part) is not None
    none = read_records(make_comparison("none", heads=("simplex",), seeds=2, without_history=gone))
    assert comparison_charts.curves(none) is None


def test_class_accuracies_are_means_over_seeds(make_comparison: Make) -> None:
    records = read_records(make_comparison(heads=("simplex",), seeds=2))
    figure = _found(comparison_charts.class_accuracies(records))
    values = [run["per_class_accuracy"][4] for run in records.done]
    assert figure.data["arms"][0]["mean"][4] == pytest.approx(sum(values) / 2, abs=1e-4)
    assert figure.data["images"] == [36] * 10
    assert len(figure.controls) == 1


def test_many_classes_are_shown_a_part_at_a_time(make_comparison: Make) -> None:
    names = tuple(f"class {place}" for place in range(60))
    records = read_records(make_comparison(heads=("simplex",), seeds=1, classes=names))
    figure = _found(comparison_charts.class_accuracies(records))
    assert [control.name for control in figure.controls] == ["order", "shown"]
    assert figure.controls[1].options[1] == ("all", "all 60")


def test_records_without_matrices_have_no_matrix(make_comparison: Make) -> None:
    records = read_records(make_comparison(heads=("simplex",), seeds=1, matrices=False))
    (run,) = records.done
    assert vectors.cosine_matrix(0, run) is None
    assert vectors.confusion_by_cosine(0, run) is None

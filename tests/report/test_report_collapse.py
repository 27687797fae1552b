from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

from fixhead.report import comparison_charts, comparison_page, plane_charts, vectors
from fixhead.report.records import read_records

Make = Callable[..., Path]
PAIR = ("learned-cosine@1", "random-cosine@1")


def collapsing(folder: Path, *, plane: bool = False) -> Path:
    """Give every history row its collapse, and with ``plane`` vectors of two dimensions."""
    for path in sorted((folder / "runs").glob("*/history.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            epoch = row["epoch"]
            row["collapse"] = {
                "of": "directions", "nc1": 1 / epoch, "equinorm": 0.5 / epoch,
                "equiangularity_deviation": None, "alignment": 1 - 0.5 / epoch,
                "self_duality": 0.3 / epoch,
            }  # fmt: skip
            if plane:
                angles = [0.6 * place + 0.01 * epoch for place in range(10)]
                row["collapse"]["vectors"] = [[math.cos(a), math.sin(a)] for a in angles]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if plane:
        runs = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
        for run in runs:
            run["geometry"]["areas"] = {
                "reason": None,
                "shares": [0.5, 0.5] + [0.0] * 8,
                "sectors": [
                    {"label": 0, "start": 0.0, "stop": math.pi},
                    {"label": 1, "start": math.pi, "stop": 2 * math.pi},
                ],
                "vanished": [str(place) for place in range(2, 10 + run["seed"] - 1)],
            }
        text = "".join(json.dumps(run) + "\n" for run in runs)
        (folder / "runs.jsonl").write_text(text)
    return folder


def test_collapse_is_kept_by_epoch_for_every_run(make_comparison: Make) -> None:
    records = read_records(collapsing(make_comparison(heads=PAIR, seeds=2, epochs=4)))
    figure = comparison_charts.collapse(records)
    assert figure is not None
    first = figure.data["arms"][0][1]
    assert first["seed"] == 1
    assert first["epochs"] == [1, 2, 3, 4]
    assert first["nc1"] == [1.0, 0.5, 0.3333, 0.25]
    assert first["equiangularity_deviation"] == [None] * 4
    assert "learned-cosine@1 0.250" in figure.summary


def test_records_without_collapse_have_no_such_sections(make_comparison: Make) -> None:
    records = read_records(make_comparison(heads=PAIR, seeds=1))
    assert comparison_page.collapse(records) is None
    assert vectors.plane(records) is None


def test_features_of_more_dimensions_have_no_plane(make_comparison: Make) -> None:
    records = read_records(collapsing(make_comparison(heads=PAIR, seeds=1)))
    assert comparison_page.collapse(records) is not None
    assert vectors.plane(records) is None


def test_the_plane_keeps_paths_and_areas_of_every_run(make_comparison: Make) -> None:
    folder = collapsing(make_comparison(heads=PAIR, seeds=2, epochs=3), plane=True)
    figure = plane_charts.plane(read_records(folder))
    assert figure is not None
    assert [(run["head"], run["seed"]) for run in figure.data["runs"]] == [
        (head, seed) for head in PAIR for seed in (0, 1)
    ]
    run = figure.data["runs"][0]
    assert run["paths"][0] == [
        [round(math.cos(0.01 * epoch), 4) for epoch in (1, 2, 3)],
        [round(math.sin(0.01 * epoch), 4) for epoch in (1, 2, 3)],
    ]
    assert run["sectors"] == [[[0, 0.0, 3.1416], [1, 3.1416, 6.2832]]]  # of the chosen epoch alone


def test_classes_without_an_area_are_counted_over_the_runs(make_comparison: Make) -> None:
    folder = collapsing(make_comparison(heads=PAIR, seeds=2), plane=True)
    assert plane_charts.vanished_sentences(read_records(folder)) == [
        f"{head}: 7.5 classes without an area, mean of 2 runs (7 and 8)." for head in PAIR
    ]


def test_a_head_with_a_bias_says_why_it_has_no_areas(make_comparison: Make) -> None:
    folder = collapsing(make_comparison(heads=("learned-dot",), seeds=1), plane=True)
    run = json.loads((folder / "runs.jsonl").read_text())
    run["geometry"]["areas"] = {"reason": "a head with a bias has no sectors"}
    (folder / "runs.jsonl").write_text(json.dumps(run) + "\n")
    records = read_records(folder)
    assert plane_charts.vanished_sentences(records) == [
        "learned-dot: no areas, because a head with a bias has no sectors."
    ]
    figure = plane_charts.plane(records)
    assert figure is not None
    assert figure.data["runs"][0]["sectors"] == [[]]

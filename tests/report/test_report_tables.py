from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

from fixhead.report.comparison_page import arms_table, from_baseline, groups_table, pairs_table
from fixhead.report.records import arms_by_name, read_records
from fixhead.report.tables import Axis, forest
from fixhead.report.vectors import geometry_table

Make = Callable[..., Path]
PAIR = ("learned-cosine@1", "random-cosine@1")


class Rows(HTMLParser):
    """The text of every cell, row by row, and the attributes of the cells."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self.cells: list[dict[str, str | None]] = []
        self.caption = ""
        self.inside = ""
        self.feed(str(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cells.append(dict(attrs))
        if tag in ("td", "th", "caption"):
            self.inside = tag

    def handle_data(self, data: str) -> None:
        if self.inside == "caption":
            self.caption += data
        elif self.inside:
            self.rows[-1][-1] += data


def test_the_arms_table_prints_mean_and_deviation_in_per_cent(make_comparison: Make) -> None:
    folder = make_comparison(
        heads=PAIR, accuracies={PAIR[0]: [0.9, 0.91, 0.92], PAIR[1]: [0.95, 0.95, 0.98]}
    )
    head, learned, frozen = Rows(arms_table(read_records(folder))).rows
    assert head[1].startswith("Test accuracy")
    assert learned[1] == "91.00 ± 1.00\u202f%"
    assert frozen[1] == "96.00 ± 1.73\u202f%"
    assert (learned[3], learned[7], frozen[7]) == ("3", "650", "0")
    assert "frozen random vectors; cosine logits at S = 1" in frozen[0]


def test_failed_runs_are_counted_beside_the_others(make_comparison: Make) -> None:
    folder = make_comparison(heads=PAIR, failed=("random-cosine@1-seed1",))
    assert Rows(arms_table(read_records(folder))).rows[2][3] == "2, 1 failed"


def test_an_arm_without_a_finished_run_has_dashes(make_comparison: Make) -> None:
    folder = make_comparison(heads=PAIR, seeds=1, failed=("random-cosine@1-seed0",))
    row = Rows(arms_table(read_records(folder))).rows[2]
    assert row[1] == "–"
    assert row[7] == "–"


def test_the_pairs_table_prints_points_interval_and_p(make_comparison: Make) -> None:
    folder = make_comparison(
        heads=PAIR, accuracies={PAIR[0]: [0.956, 0.959, 0.962], PAIR[1]: [0.964, 0.966, 0.9685]}
    )
    found = Rows(pairs_table(read_records(folder)) or "")
    _, difference, interval, _, p, n = found.rows[1]
    assert (difference, interval, p, n) == ("−0.72", "−0.91 to −0.53", "0.004", "3")
    assert "Holm-corrected over" not in found.caption


def test_p_is_left_out_below_three_seeds(make_comparison: Make) -> None:
    found = Rows(pairs_table(read_records(make_comparison(heads=PAIR, seeds=2))) or "")
    assert found.rows[1][4] == "–"
    assert "left out below 3" in found.caption


def test_one_arm_has_no_pairs(make_comparison: Make) -> None:
    assert pairs_table(read_records(make_comparison(heads=PAIR[:1]))) is None


def test_every_pair_is_there(make_comparison: Make) -> None:
    found = Rows(pairs_table(read_records(make_comparison())) or "")
    assert len(found.rows) == 1 + 6 * 5 // 2
    assert "over the 15 pairs" in found.caption


def test_every_other_head_is_shown_against_the_baseline(make_comparison: Make) -> None:
    records = read_records(make_comparison())
    section = from_baseline(records)
    assert section is not None
    assert section.title == "Differences from learned-dot"
    found = Rows(section.body)
    held = records.results["against"]
    assert len(found.rows) == 1 + 5
    assert found.rows[1][1] == f"{100 * held['arms'][0]['difference']['mean']:+.2f}".replace(
        "-", "\u2212"
    )
    assert "Dunnett" in found.caption or "Holm over 5" in found.caption
    assert from_baseline(read_records(make_comparison("two", heads=PAIR))) is None


def test_both_accuracies_of_the_chosen_epoch_are_columns(make_comparison: Make) -> None:
    folder = make_comparison(heads=PAIR)
    head = Rows(arms_table(read_records(folder))).rows[0]
    assert any(title.startswith("Balanced") for title in head)


def test_cells_have_scopes_roles_labels_and_sort_keys(make_comparison: Make) -> None:
    found = Rows(arms_table(read_records(make_comparison(heads=PAIR))))
    heading, cell = found.cells[1], found.cells[10]
    assert heading["scope"] == "col"
    assert heading["aria-sort"] == "none"
    assert found.cells[9]["scope"] == "row"
    assert cell["role"] == "cell"
    assert cell["data-label"] == "Test accuracy"
    assert 0.8 < float(cell["data-v"] or "") < 1


def test_the_geometry_table_averages_over_seeds(make_comparison: Make) -> None:
    records = read_records(make_comparison(heads=PAIR))
    rows = Rows(geometry_table(records) or "").rows
    own = [run["geometry"]["own_cosine"]["mean"] for run in records.of(PAIR[0])]
    assert rows[1][2] == f"{sum(own) / 3:.2f}"


def test_the_geometry_table_needs_a_finished_run(make_comparison: Make) -> None:
    folder = make_comparison(heads=PAIR[:1], seeds=1, failed=("learned-cosine@1-seed0",))
    assert geometry_table(read_records(folder)) is None


def test_an_axis_places_values_in_per_cent_and_keeps_them_inside() -> None:
    axis = Axis(-2.0, 2.0)
    assert [axis.place(value) for value in (-2.0, 0.0, 1.0, 9.0)] == [0.0, 50.0, 75.0, 100.0]
    assert Axis(1.0, 1.0).place(1.0) == 50.0


def test_an_interval_that_leaves_the_axis_is_marked_as_cut() -> None:
    drawn = forest(0.5, [-1.0, 7.0], Axis(-2.0, 2.0), full=False)
    assert "cut-right" in drawn
    assert "cut-left" not in drawn
    assert re.search(r"left:25.0%;width:75.0%", drawn)
    assert "bar" not in forest(0.5, None, Axis(-2.0, 2.0), full=True)


def test_unequal_classes_bring_a_table_of_their_groups(make_comparison: Make) -> None:
    folder = make_comparison(heads=PAIR)
    path = folder / "results.json"
    results = json.loads(path.read_text())
    size = len(json.loads((folder / "runs.jsonl").read_text().splitlines()[0])["classes"])
    results |= {
        "imbalance": "exp:0.1",
        "class_counts": list(range(10 * size, 0, -10)),
        "groups": {"many": [0, 1], "few": list(range(2, size))},
    }
    spread = {"mean": 0.5, "std": 0.01, "values": [0.49, 0.5, 0.51], "seeds": [0, 1, 2]}
    for arm in results["arms"]:
        arm["group_accuracy"] = {"many": spread, "few": {**spread, "mean": None, "std": None}}
    path.write_text(json.dumps(results))
    table = Rows(groups_table(read_records(folder)) or "")
    assert table.rows[0] == ["Head", "Many2 classes", f"Few{size - 2} classes"]
    assert [row[1:] for row in table.rows[1:]] == [["50.00 ± 1.00\u202f%", "–"]] * len(PAIR)
    assert f"many {10 * size - 10} to {10 * size}" in table.caption
    assert "Many" not in arms_table(read_records(folder))


def test_equal_classes_have_no_table_of_groups(make_comparison: Make) -> None:
    assert groups_table(read_records(make_comparison(heads=PAIR))) is None


LONG = (
    "vectors=simplex,logits=cosine,scale=auto,neck=batchnorm",
    "vectors=simplex,logits=cosine,scale=auto,neck=batchnorm,loss=dot-regression",
    "vectors=linear,logits=dot,scale=1,bias=yes,learn=yes,loss=balanced-softmax",
)


def renamed(folder: Path, names: tuple[str, ...]) -> Path:
    """The same made-up comparison with other names of its heads."""
    old = [arm["head"] for arm in json.loads((folder / "results.json").read_text())["arms"]]
    for name in ("results.json", "runs.jsonl"):
        text = (folder / name).read_text()
        for before, after in zip(old, names, strict=True):
            text = text.replace(json.dumps(before), json.dumps(after))
        (folder / name).write_text(text)
    return folder


def test_long_specifications_have_short_names_that_still_differ(make_comparison: Make) -> None:
    heads = ("simplex", "hadamard", "learned-dot")
    records = read_records(renamed(make_comparison(heads=heads, seeds=1), LONG))
    assert [arm.shown for arm in arms_by_name(records).values()] == [
        "simplex, cosine, S auto, neck batchnorm",
        "simplex, cosine, S auto, neck batchnorm, loss dot-regression",
        "linear, dot, learned, bias yes, loss balanced-softmax",
    ]
    table = arms_table(records)
    assert f'title="{LONG[0]}"' in table
    assert ">simplex, cosine, S auto, neck batchnorm<" in table


def test_names_that_would_become_the_same_stay_whole(make_comparison: Make) -> None:
    twins = ("vectors=simplex,logits=dot", "vectors=simplex,logits=dot,scale=1")
    records = read_records(renamed(make_comparison(heads=PAIR, seeds=1), twins))
    assert [arm.shown for arm in arms_by_name(records).values()] == list(twins)
    usual = read_records(make_comparison("usual", heads=PAIR, seeds=1))
    assert [arm.shown for arm in arms_by_name(usual).values()] == list(PAIR)

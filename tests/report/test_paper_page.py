"""A paper's page from results.json alone: marks, verdicts, warnings and every kind of drawing."""

import copy
import html
import json
import re
from pathlib import Path

import pytest

from fixhead import RequestError, report
from fixhead.report import is_paper, write_paper_page
from fixhead.report.page import build, render_chart
from fixhead.report.paper_charts import FIGURE_KINDS, figure_chart
from fixhead.report.paper_page import paper_page

ASSETS = Path(report.__file__).parent / "assets"
SCRIPTS = "".join(path.read_text(encoding="utf-8") for path in sorted(ASSETS.glob("*.js")))


def page_text(found):
    return build(paper_page(found)).decode()


def row(**more):
    base = {
        "row": "STL-10, <ResNet>",
        "column": "fixed",
        "unit": "percent",
        "over": "mean",
        "printed": {"value": 0.825, "source": "paper", "note": ""},
        "ours": {
            "n": 3,
            "values": [0.8, 0.81, 0.82],
            "seeds": [0, 1, 2],
            "option": "lr 0.1",
            "mean": 0.81,
            "std": 0.01,
            "interval": [0.785, 0.835],
        },
        "difference": {"mean": -0.015, "ci95": [-0.04, 0.01]},
        "level": None,
        "tolerance": 0.01,
        "tolerance_reason": "our choice",
        "verdict": "not decided",
        "why": ["the paper's figure lies in our interval, which is wide"],
        "cells": [],
    }
    return base | more


def results(**more):
    return {
        "schema": "fixhead.paper/1",
        "fixhead": "0",
        "paper": "shalev2020",
        "paper_title": "Shalev et al. 2020",
        "item": "table1",
        "title": "Fixed and non-fixed",
        "scale": "small",
        "as_published": False,
        "protocol": None,
        "command": "fixhead paper shalev2020 table1 --scale small",
        "cells": {"planned": 6, "done": 6, "missing": []},
        "rows": [row()],
        "claims": [],
        "figures": [],
        "recipes": {"STL-10": {"lr": {"value": 0.1, "source": "our choice"}}},
        "notes": [],
        "failed": [],
        "made": {
            "devices": ["cpu"],
            "versions": {"torch": ["2"]},
            "commits": ["abc"],
            "first_started": "2026-01-01",
            "last_started": "2026-01-02",
            "seconds": 12.0,
        },
    } | more


DATA = {
    "bars": {
        "names": ["0", "1"],
        "series": [{"name": "balanced", "values": [6000, 5000]}, {"name": "t", "values": [30, 0]}],
        "y": "images",
    },
    "strip": {"series": [{"name": "random", "values": [0.4]}], "x": "accuracy", "unit": "percent"},
    "plane": {
        "classes": ["a", "b"],
        "panels": [
            {
                "title": "seed 0",
                "points": [[0.0, 1.0], [1.0, -2.0]],
                "labels": [0, 1],
                "vectors": [[0.0, 1.0], [1.0, 0.0]],
                "sectors": [{"label": 0, "start": 0.0, "stop": 3.0}],
            }
        ],
    },
    "paths": {
        "classes": ["a", "b"],
        "panels": [{"title": "seed 0", "paths": [[[0, 1], [1, 2]], [[0, 0], [1, 1]]]}],
    },
    "matrix": {"classes": ["a", "b"], "panels": [{"title": "x", "values": [[1, -0.5], [-0.5, 1]]}]},
    "points": {"series": [{"name": "s", "x": [0.1, 0.2], "y": [3, 4]}], "x": "cosine", "y": "n"},
    "curves": {"series": [{"name": "s", "x": [1, 2], "y": [3, 4]}], "x": "epoch", "y": "loss"},
}


def test_every_kind_of_drawing_has_a_case_here():
    assert set(DATA) == FIGURE_KINDS


@pytest.mark.parametrize("kind", sorted(DATA))
def test_a_drawing_has_its_routines_and_its_data_and_says_what_was_measured_and_printed(kind):
    figure = {
        "kind": kind,
        "title": "A & B",
        "measured": "here <now>",
        "printed": "there",
        "data": DATA[kind],
    }
    chart = figure_chart(3, figure)
    text = render_chart(chart)
    assert 'data-plot="figure-3"' in text
    assert f"kinds.{chart.kind} = " in SCRIPTS
    assert f"tables.{chart.kind} = " in SCRIPTS
    assert chart.data == DATA[kind]
    assert "here &lt;now&gt;" in text
    assert "In the paper: " in text


def test_the_table_shows_both_figures_the_difference_the_verdict_and_why():
    page = html.unescape(page_text(results()))
    for said in ("82.5", "81.00 ± 1.00", "−1.50 points", "−4.00 points to +1.00 points", "lr 0.1",
                 "not decided", "which is wide", "STL-10, <ResNet>"):  # fmt: skip
        assert said in page
    assert "<ResNet>" not in page_text(results())
    assert "plotly.js v" not in page
    assert "None" not in page


def test_recalled_and_missing_figures_are_marked():
    recalled = row(printed={"value": 0.7, "source": "recalled", "note": ""})
    missing = row(printed={"value": None, "source": "missing", "note": "not at hand"})
    page = page_text(results(rows=[recalled, missing]))
    assert "recalled, unverified" in page
    assert "not at hand" in page


def test_the_published_protocol_carries_a_warning_and_the_fair_one_none():
    protocol = "epochs were chosen on the test set"
    assert protocol in page_text(results(as_published=True, protocol=protocol))
    assert "chosen on the test set" not in page_text(results())


def test_claims_carry_their_interval_and_the_papers_difference():
    claim = {
        "text": "fixed above non-fixed",
        "first": "a",
        "second": "b",
        "unit": "percent",
        "printed": 0.228,
        "n": 3,
        "difference": {"mean": 0.01, "ci95": [-0.02, 0.04]},
        "p_value": 0.3,
        "verdict": "not shown here: the interval holds zero",
    }
    page = page_text(results(claims=[claim]))
    assert "+1.00 points, 95 % interval −2.00 points to +4.00 points, 3 paired runs" in page
    assert "the paper: +22.80 points" in page


def test_the_page_is_rebuilt_from_results_alone(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(results()))
    assert is_paper(tmp_path)
    first = write_paper_page(tmp_path).read_bytes()
    assert write_paper_page(tmp_path).read_bytes() == first


@pytest.mark.parametrize("text", [None, "{", '{"schema": "other"}'])
def test_unreadable_results_are_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    assert not is_paper(tmp_path)
    with pytest.raises(RequestError, match=r"results\.json"):
        write_paper_page(tmp_path)


def test_a_page_leaves_its_results_as_they_are():
    given_ = results()
    before = copy.deepcopy(given_)
    page_text(given_)
    assert given_ == before


def cell(where, arm, ours, printed=None, metric="test accuracy", **more):
    """A row of results.json by its plain words; ``ours`` are the values, none where not run."""
    mean = sum(ours) / len(ours) if ours else None
    interval = [mean - 0.05, mean + 0.05] if len(ours) > 1 else None
    found = {"n": len(ours), "values": ours, "seeds": [*range(len(ours))], "option": None,
             "mean": mean, "std": 0.01 if interval else None, "interval": interval}  # fmt: skip
    value = None if printed is None else {"value": printed, "source": "paper", "note": ""}
    return row(row=where, column=arm, where=where, arm=arm, metric=metric, ours=found,
               printed=value, difference=None, why=[], **more)  # fmt: skip


def lines(page):
    return re.findall(r'<div class="cell-line">(.*?)</div>', page, re.S)


def test_the_page_opens_with_one_line_per_cell_and_those_not_run_are_hollow():
    rows = [
        cell("MNIST", "fixed", [0.9, 0.92], 0.95),
        cell("MNIST", "learned", [0.7]),
        cell("CIFAR", "fixed", [], 0.5),
        cell("CIFAR", "learned", []),
    ]
    page = page_text(results(rows=rows))
    assert page.index("cells-picture") < page.index('id="claims"' if "claims" in page else "<table")
    found = lines(page)
    assert len(found) == 4
    marks = [
        (one.count("paper-mark"), one.count('"here-mark"'), one.count("hollow")) for one in found
    ]
    assert marks == [(1, 1, 0), (0, 1, 0), (1, 0, 1), (0, 0, 1)]
    assert [one.count('class="bar"') for one in found] == [1, 0, 0, 0]
    assert "91.0\u202f% · paper 95.0\u202f%" in found[0]
    assert "not run" in found[2]
    assert page.count('class="where"') == 2  # a place is named once over its arms
    assert "2 of them run here, 2 with a figure of the paper" in page


def test_a_run_that_diverged_was_run_and_says_so():
    gone = cell("MNIST", "fixed", [], 0.9)
    gone["ours"]["diverged"] = 2
    (line,) = lines(page_text(results(rows=[gone])))
    assert "diverged (2 runs)" in line
    assert "not run" not in line


def test_marks_stand_where_the_numbers_say_and_no_axis_leaves_0_to_100_percent():
    rows = [cell("a", "x", [0.99, 0.99], 1.0), cell("a", "y", [0.01, 0.01], 0.0)]
    page = page_text(results(rows=rows))
    assert re.findall(r'class="(?:paper|here)-mark" style="left:([\d.]+)%', page) == [
        "100.0", "99.0", "0.0", "1.0",
    ]  # fmt: skip
    assert re.findall(r"<span>([\d.]+\u202f%)</span>", page.split("cell-line ends")[1])[:2] == [
        "0.0\u202f%",
        "100.0\u202f%",
    ]


def test_only_metrics_that_the_paper_prints_are_in_the_picture_or_all_where_it_prints_none():
    rows = [cell("a", "x", [0.5], 0.6), cell("a", "x", [3.0], metric="NC1", unit="number")]
    assert len(lines(page_text(results(rows=rows)))) == 1
    assert len(lines(page_text(results(rows=[row_ | {"printed": None} for row_ in rows])))) == 2


def test_what_was_run_at_which_scale_stands_beside_the_title():
    recipes = {"a": {"epochs": {"value": 10, "source": "our choice", "stated": 80}}}
    trained = {"settings": {"epochs": [10]}, "arms": [
        {"where": "a", "arm": "x", "runs": 3, "settings": {}}]}  # fmt: skip
    rows = [cell("a", "x", [0.5]), cell("a", "y", []), cell("a", "z", [])]
    cells = {"planned": 9, "done": 3, "missing": ["m"] * 6}
    page = page_text(results(rows=rows, recipes=recipes, trained=trained, cells=cells))
    subtitle = re.search(r'<p class="subtitle">(.*?)</p>', page)[1]
    assert html.unescape(subtitle) == (
        "small scale (CPU): 10 of the paper's 80 epochs; 1 of 3 cells, 3 of 9 runs done."
    )


def test_labels_that_rows_share_stand_once_above_them_and_the_rest_in_the_caption():
    rows = [
        cell(where, arm, [0.5], metric=metric)
        for where in ("MNIST", "CIFAR")
        for metric in ("NC1", "NC3")
        for arm in ("fixed", "learned", "guided")
    ]
    page = page_text(results(rows=rows))
    table = re.search(r'<table id="table-paper".*?</table>', page, re.S)[0]
    assert re.findall(r'scope="colgroup"[^>]*>(.*?)<', table) == [
        "MNIST: NC1", "MNIST: NC3", "CIFAR: NC1", "CIFAR: NC3",
    ]  # fmt: skip
    assert table.count("MNIST") == 2
    one = page_text(results(rows=[cell("MNIST", arm, [0.5]) for arm in ("fixed", "learned")]))
    assert "All rows: MNIST; test accuracy." in one
    assert "colgroup" not in one


def test_recipes_are_printed_as_the_records_say_not_as_planned():
    planned = {
        "weight_decay": {"value": 0.0005, "source": "code"},
        "lr": {"value": 0.1, "source": "paper"},
    }
    trained = {
        "settings": {"lr": [0.1]},
        "arms": [
            {"where": where, "arm": arm, "runs": 3, "settings": {"weight_decay": [decay]}}
            for where, arm, decay in (
                ("MNIST", "dot", 0.0005),
                ("MNIST", "cosine", 0.0),
                ("MNIST", "cosine, S = 20", 0.0),
                ("CIFAR", "cosine", 0.0),
            )
        ],
    }
    recipes = {"MNIST": planned, "CIFAR": planned}
    page = page_text(results(trained=trained, recipes=recipes))
    table = re.search(r'<table id="table-recipes".*?</table>', page, re.S)[0]
    rows = [re.findall(r'data-v="">(.*?)<', part) for part in table.split("<tr")[2:]]
    assert rows == [
        ["MNIST", "dot", "0.0005"],
        ["MNIST", "cosine; cosine, S = 20", "0.0"],
        ["CIFAR", "cosine", "0.0"],
    ]
    first, second = (part for part in re.split("Recipe: ", page)[1:])
    assert "<td>0.0005 and 0.0</td>" in first
    assert "<td>0.0</td><td>our choice; code: 0.0005</td>" in second
    assert second.count("0.0005") == 1

"""Every table and figure of the papers is listed, and can be planned at every scale."""

import json
from pathlib import Path

import pytest

from fixhead.cli import run
from fixhead.papers import PaperRequest, RunOptions, find, items
from fixhead.papers.registry import build
from fixhead.papers.run import perform
from fixhead.papers.store import share_of
from fixhead.runs.pool import Workers
from fixhead.runs.records import read

RECORDED = Path(__file__).parents[2] / "results" / "papers"
SEEDS = {
    "shalev2020": [
        *(f"table{n}" for n in range(1, 10)),
        *(f"figure{n}" for n in range(2, 6)),
        "correlations",
        "compactness",
    ],
    "delacalle2019": ["figure2", "figure3", "figure4", "variability"],
    "yang2022": [
        "long-tail",
        "balanced",
        "fine-grained",
        "collapse",
        "convergence",
        "layer-peeled",
    ],
    "hoffer2018": ["table1", "memory", "repeats"],
}


def test_every_table_and_figure_of_the_papers_is_listed(capsys):
    assert run(["paper", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert all(set(one) == {"paper", "item", "title", "scales"} for one in found)
    for paper, names in SEEDS.items():
        assert set(names) <= {one["item"] for one in found if one["paper"] == paper}


def test_names_are_unique():
    pairs = [(item.paper, item.name) for item in items()]
    assert len(pairs) == len(set(pairs))


@pytest.mark.parametrize("item", items(), ids=lambda item: f"{item.paper}-{item.name}")
def test_every_item_is_planned_at_every_scale_without_double_cells(item):
    for scale in item.scales:
        names = [cell.name for cell in build(item, PaperRequest(scale)).cells]
        assert names
        assert len(names) == len(set(names))
        assert all(name == name.strip("./") and "/" not in name for name in names)


@pytest.mark.parametrize(
    "path", sorted(RECORDED.rglob("results.json")), ids=lambda p: "-".join(p.parts[-3:-1])
)
def test_cells_keep_the_names_under_which_their_records_lie(path):
    recorded = json.loads(path.read_text(encoding="utf-8"))
    item = find(recorded["paper"], recorded["item"])
    request = PaperRequest(
        recorded["scale"], recorded["as_published"], batch_size=recorded.get("batch_size")
    )
    content = build(item, request)
    rows = [[cell.name for one in entry.options for cell in one.cells] for entry in content.entries]
    assert rows == [row["cells"] for row in recorded["rows"]]
    assert len(content.cells) == recorded["cells"]["planned"]
    done = {row["cell"] for row in read(path.parents[1] / "runs.jsonl")}
    planned = {cell.name for cell in content.cells}
    assert planned - done == set(recorded["cells"]["missing"])


def test_items_share_identical_cells():
    request = PaperRequest("small")
    names = {
        name: {cell.name for cell in build(find("shalev2020", name), request).cells}
        for name in ("table1", "table2", "table3", "table4", "table7")
    }
    assert names["table1"] == names["table7"]
    assert names["table2"] < names["table3"]
    assert names["table4"] & names["table2"]


def test_shares_of_a_plan_are_disjoint_and_whole():
    cells = build(find("shalev2020", "table1"), PaperRequest("small")).cells
    parts = [share_of(cells, f"{place}/4") for place in range(1, 5)]
    names = [cell.name for part in parts for cell in part]
    assert sorted(names) == sorted(cell.name for cell in cells)


@pytest.mark.slow
def test_two_processes_share_the_cells_of_one_store(tiny, tmp_path):
    request = PaperRequest("small", seeds=2, epochs=1)
    options = RunOptions(tiny, "cpu", workers=Workers(jobs=2))
    results = perform(find("delacalle2019", "figure4"), request, tmp_path, options)
    rows = read(tmp_path / "delacalle2019-small" / "runs.jsonl")
    assert results["cells"]["done"] == len(rows) == len({row["cell"] for row in rows}) == 8

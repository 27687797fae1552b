"""The one table of measures: what it names exists, it is cheap to read, and one entry is enough."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import fixhead
from fixhead.cli import run
from fixhead.measures import MEASURES, Formula, Measure

SOURCE = Path(fixhead.__file__).parent


def test_the_table_is_read_without_torch():
    code = "import sys, fixhead.measures as m; assert m.MEASURES and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_measure_is_computed_or_comes_with_the_pass_and_says_how_it_is_shown():
    for name, measure in MEASURES.items():
        assert measure.name == name
        assert measure.title
        assert measure.short
        assert measure.whole or measure.each or name == "loss"


@pytest.mark.parametrize(
    "room", ["evaluation", "report", "training", "comparison", "metrics", "cli"]
)
def test_no_room_lists_the_measures_of_collapse_a_second_time(room):
    names = {"nc1", "self_duality", "equinorm"}
    for path in sorted((SOURCE / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict | ast.Tuple | ast.List):
                words = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
                assert not names <= words, path


@pytest.fixture
def longest_mean(monkeypatch):
    """A measure that nobody had: the length of the longest class mean, and each class's own."""
    own = Formula(lambda stats: stats.means.norm(dim=1), ("statistics",))
    longest = Formula(lambda stats: stats.means.norm(dim=1).max(), ("statistics",))
    added = Measure(
        "longest_mean", "collapse", "length of the longest class mean", "Longest mean",
        whole=longest, each=own, by_epoch=True,
    )  # fmt: skip
    monkeypatch.setitem(MEASURES, "longest_mean", added)


def test_one_entry_is_in_the_record_on_the_page_and_in_the_terminal(capsys, longest_mean, tmp_path):
    out = tmp_path / "run"
    assert run(["train", "--epochs", "1", "--device", "cpu", "--out", str(out)]) == 0
    (out,) = (out / "runs").iterdir()
    history = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert history[0]["collapse"]["longest_mean"] > 0
    capsys.readouterr()
    assert run(["evaluate", str(out), "--device", "cpu"]) == 0
    model = json.loads((out / "evaluation.json").read_text())["models"][0]
    assert model["collapse"]["longest_mean"] == max(model["per_class"]["longest_mean"])
    assert "length of the longest class mean" in capsys.readouterr().out
    page = (out / "evaluation.html").read_text()
    assert "Length of the longest class mean" in page  # a row of its table
    assert 'value="longest_mean"' in page

import json

import numpy as np
import pytest

from fixhead import RequestError
from fixhead.cli import run
from fixhead.comparison import Comparison
from fixhead.comparison.context import prepare
from fixhead.data import groups, load, thin
from fixhead.runs.records import read

QUICK = ["--heads", "learned-dot,simplex-dr", "--epochs", "1", "--seeds", "2", "--device", "cpu"]


@pytest.fixture(scope="module")
def tailed(tmp_path_factory):
    """A comparison on digits with a tenth of the images in the smallest class."""
    out = tmp_path_factory.mktemp("tail") / "out"
    assert run(["compare", "--imbalance", "exp:0.1", *QUICK, "--out", str(out)]) == 0
    return out


def test_records_hold_the_counts_of_the_tail_before_the_validation_split(tailed):
    expected = thin(load("digits"), "exp:0.1").train.counts(10)
    for row in read(tailed / "runs.jsonl"):
        assert row["class_counts"] == expected.tolist()
        assert row["imbalance"] == "exp:0.1"
        assert row["config"]["choose_on"] == "balanced_accuracy"
        assert 0 <= row["val_balanced_accuracy"] <= 1


def test_group_accuracies_are_means_over_the_classes_of_the_published_groups(tailed):
    members = groups(thin(load("digits"), "exp:0.1").train.counts(10))
    for row in read(tailed / "runs.jsonl"):
        M = np.array(row["geometry"]["confusion"])
        rates = M.diagonal() / M.sum(axis=1)
        assert row["group_accuracy"] == {
            name: pytest.approx(rates[part].mean()) for name, part in members.items()
        }


def test_results_and_page_show_the_groups(tailed):
    results = json.loads((tailed / "results.json").read_text())
    rows = [row for row in read(tailed / "runs.jsonl") if row["head"] == "simplex-dr"]
    assert results["metric"] == "balanced_accuracy"
    assert [len(part) for part in results["groups"].values()] == [3, 4, 3]
    few = results["arms"][1]["group_accuracy"]["few"]
    assert few["values"] == [row["group_accuracy"]["few"] for row in rows]
    assert few["mean"] == pytest.approx(np.mean(few["values"]))
    assert "unequal (exp:0.1)" in results["notes"][0]
    page = (tailed / "report.html").read_text()
    assert all(f'data-label="{name}"' in page for name in ("Many", "Medium", "Few"))


def test_equal_classes_have_no_groups_anywhere(tmp_path):
    assert run(["compare", *QUICK[2:], "--heads", "simplex", "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert "groups" not in results
    assert "group_accuracy" not in read(tmp_path / "runs.jsonl")[0]
    assert 'data-label="Few"' not in (tmp_path / "report.html").read_text()


def test_heads_that_follow_the_counts_see_the_tail():
    context = prepare(Comparison(heads=("guided",), seeds=1, imbalance="exp:0.1", device="cpu"))
    kept = context.parts(0, 32).train.split.counts(10)
    assert context.training_counts(0).tolist() == kept.tolist()
    assert kept[0] > 5 * kept[9]


def test_the_tail_is_part_of_what_a_comparison_is():
    assert Comparison().digest != Comparison(imbalance="exp:0.1").digest
    assert Comparison(imbalance="exp:0.1").digest != Comparison(imbalance="exp:0.2").digest
    again = Comparison.from_dict(Comparison(imbalance="exp:0.1").to_dict())
    assert again.digest == Comparison(imbalance="exp:0.1").digest


def test_counts_from_a_file_count_by_their_content(tmp_path):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    for path in (first, second):
        path.write_text("9 8 7")
    digest = Comparison(imbalance=f"counts:{first}").digest
    assert Comparison(imbalance=f"counts:{second}").digest == digest
    first.write_text("9 8 6")
    assert Comparison(imbalance=f"counts:{first}").digest != digest


@pytest.mark.parametrize("rule", ["exp:2", "exp:", "zipf:1", "exp:0.1,order=best"])
def test_a_rule_that_means_nothing_is_refused(rule):
    with pytest.raises(RequestError, match="imbalance"):
        Comparison(imbalance=rule)


def test_a_missing_counts_file_is_refused_and_nothing_written(tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--imbalance", f"counts:{tmp_path / 'none.txt'}", "--out", str(out)]
    assert run(["compare", *QUICK, *options]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert not out.exists()

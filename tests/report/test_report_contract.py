"""The made-up records are of the kind that the package writes: its own summary reads them alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fixhead.comparison import Comparison
from fixhead.comparison.job import summarise
from fixhead.report.records import read_records
from fixhead.runs.layout import COMPARISON_SCHEMA, RESULTS_SCHEMA

Make = Callable[..., Path]


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_packages_summary_of_the_same_runs_agrees(make_comparison: Make, seeds: int) -> None:
    folder = make_comparison(seeds=seeds)
    records = read_records(folder)
    comparison = Comparison(data="digits", heads=tuple(records.heads), seeds=seeds)
    real = summarise(comparison, records.runs)
    made = json.loads((folder / "results.json").read_text())
    assert real["schema"] == made["schema"] == RESULTS_SCHEMA
    assert real["claims"] == made["claims"]
    assert real["metric"] == made["metric"]
    for ours, theirs in zip(made["arms"], real["arms"], strict=True):
        assert ours.keys() <= theirs.keys()
        for name in ("mean", "std", "values", "seeds"):
            assert ours["test_accuracy"][name] == pytest.approx(theirs["test_accuracy"][name])
    for ours, theirs in zip(made["pairs"], real["pairs"], strict=True):
        assert ours.keys() <= theirs.keys()
        assert (ours["a"], ours["b"], ours["n"]) == (theirs["a"], theirs["b"], theirs["n"])
        assert ours["difference"]["mean"] == pytest.approx(theirs["difference"]["mean"])
        if ours["difference"]["ci95"] is not None:
            assert ours["difference"]["ci95"] == pytest.approx(theirs["difference"]["ci95"])
            assert ours["p_value"] == pytest.approx(theirs["p_value"])


def test_the_configuration_is_one_that_a_comparison_reads(make_comparison: Make) -> None:
    facts = json.loads((make_comparison(seeds=1) / "config.json").read_text())
    assert facts["schema"] == COMPARISON_SCHEMA
    assert Comparison.from_dict(facts["config"]).heads == tuple(facts["config"]["heads"])

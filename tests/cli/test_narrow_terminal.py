"""Tables in a narrow terminal: a name is folded, never cut, so that arms can be told apart."""

from pathlib import Path

import pytest

from fixhead.comparison.terminal import show_outcome, show_plan
from fixhead.papers.run import show_paper

NAMES = ("random-cosine@1", "random-cosine@auto", "learned-dot:paired")
SPREAD = {"mean": 0.9876, "std": 0.0123}


def outcome():
    arms = [
        {"head": name, "n": 3, "test_accuracy": SPREAD, "last_epoch_accuracy": SPREAD}
        for name in NAMES
    ]
    others = [
        {"head": name, "difference": {"mean": 0.01, "ci95": [-0.01, 0.03]}, "p_value": 0.4}
        for name in NAMES[1:]
    ]
    against = {
        "baseline": NAMES[0], "test": "dunnett", "n": 3, "deviation": 0.01,
        "unequal_p_value": 0.5, "detectable": 0.03, "arms": others, "left_out": [],
    }  # fmt: skip
    results = {"metric": "test_accuracy", "arms": arms, "against": against, "notes": []}
    show_outcome(results, Path("folder"))


def plan():
    runs = [{"run_id": f"{name}-seed0", "seconds": 4.0} for name in NAMES]
    facts = {"data": "digits", "training_images": 1, "test_images": 1, "classes": 10,
             "backbone": "small-cnn", "features": 64, "epochs": 1, "device": "cpu",
             "choices": [], "done": 0, "seconds": 12.0}  # fmt: skip
    shows = {"difference": 0.02, "power": 0.8, "spread": 0.01, "seeds_for_half": 9}
    show_plan(facts | {"runs": runs, "shows": shows, "baseline": NAMES[0]})


def paper():
    ours = {"n": 3, "mean": 0.9, "std": 0.01}
    rows = [
        {"row": name, "column": f"test accuracy of {name}", "printed": None, "ours": ours,
         "unit": "percent", "verdict": "no printed figure"}
        for name in NAMES
    ]  # fmt: skip
    results = {"paper": "shalev2020", "item": "table1", "scale": "small", "as_published": False,
               "rows": rows, "claims": [], "cells": {"done": 3, "planned": 3}}  # fmt: skip
    show_paper(results, Path("folder"))


@pytest.mark.parametrize("width", [30, 40, 60])
@pytest.mark.parametrize("show", [outcome, plan, paper])
def test_names_lose_nothing(show, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    show()
    lines = capsys.readouterr().out.splitlines()
    cells = [line.split("│")[1].strip() for line in lines if line.startswith("│")]
    first = "".join(cells)
    assert "…" not in first
    for name in NAMES:
        assert name in first

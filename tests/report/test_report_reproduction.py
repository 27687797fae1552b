from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from fixhead.cli.compare import compare
from fixhead.comparison import Comparison
from fixhead.comparison.config import Task
from fixhead.report.recipes import (
    OPTIONS,
    TITLES,
    command,
    flat,
    reproduction,
    title_of,
    training,
    unspoken,
)
from fixhead.report.records import ComparisonRecords, read_records
from fixhead.training.recipe import Recipe

Make = Callable[..., Path]


def _with(folder: Path, recipe: dict[str, Any] | None = None, **options: Any) -> ComparisonRecords:
    facts = json.loads((folder / "config.json").read_text())
    facts["config"] |= options
    facts["config"]["recipe"] |= recipe or {}
    (folder / "config.json").write_text(json.dumps(facts))
    return read_records(folder)


def _read(records: ComparisonRecords) -> dict[str, str | None]:
    """The options as a shell would hand them over."""
    words = shlex.split(command(records).replace("\\\n", " "))
    assert words[:2] == ["fixhead", "compare"]
    found: dict[str, str | None] = {}
    name = ""
    for word in words[2:]:
        if word.startswith("--"):
            name = word
            found[name] = None
        else:
            found[name] = word
    return found


def test_the_command_says_every_option_that_was_set(make_comparison: Make) -> None:
    records = _with(
        make_comparison(seeds=1),
        {"lr": 0.05, "compile": True, "deterministic": False},
        data="/data/my birds; rm -rf $HOME",
        tune=[0.01, 0.1],
        pretrained=True,
    )
    found = _read(records)
    assert found["--data"] == "/data/my birds; rm -rf $HOME"
    assert found["--heads"] == ",".join(records.heads)
    assert found["--tune"] == "lr=0.01,0.1"
    assert found["--lr"] == "0.05"
    assert found["--weight-decay"] == "0.0005"
    assert found["--out"] == "comparison"
    assert {"--pretrained", "--compile"} <= found.keys()
    assert not {"--deterministic", "--data-dir", "--features"} & found.keys()


def test_every_option_is_one_that_compare_has() -> None:
    known = {name.rstrip("_") for name in inspect.signature(compare).parameters}
    assert set(OPTIONS) <= known


def test_every_option_that_a_comparison_keeps_is_said() -> None:
    known = {name.rstrip("_") for name in inspect.signature(compare).parameters}
    assert known & flat(Comparison().to_dict()).keys() <= set(OPTIONS)


def test_what_no_option_sets_is_listed(make_comparison: Make) -> None:
    records = read_records(make_comparison(seeds=1))
    assert unspoken(records) == {"momentum": 0.9}
    body = reproduction(records).body
    assert "momentum" in body
    assert "no device: generated test data" in body
    assert "torch 2.13.0" in body


def test_differing_machines_are_both_named(make_comparison: Make) -> None:
    folder = make_comparison(heads=("simplex",), seeds=2)
    lines = (folder / "runs.jsonl").read_text().splitlines()
    lines[1] = lines[1].replace("no device: generated", "another: generated")
    (folder / "runs.jsonl").write_text("\n".join(lines) + "\n")
    body = reproduction(read_records(folder)).body
    assert "no device: generated test data and another: generated test data" in body


def test_each_arms_training_is_printed_from_its_runs_records(make_comparison: Make) -> None:
    folder = make_comparison(heads=("learned-dot", "simplex"), seeds=2)
    runs = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    for run in runs:
        decay = 0.0 if run["head"] == "simplex" else 0.0005
        run["config"] |= {"weight_decay": decay, "lr": 0.1 / (1 + run["seed"])}
    (folder / "runs.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))
    section = training(read_records(folder))
    assert section is not None
    table = section.body.split("<table")[1]
    assert "Weight decay" in table
    assert "weight_decay" not in section.body
    assert ">0.0005<" in table
    assert ">0.0<" in table
    assert "0.1 and 0.05" in section.body.split("<table")[2]  # the rate is shared, and no plan
    assert "0.1 and 0.05" not in table


def test_every_setting_of_a_recipe_has_a_name_in_plain_words() -> None:
    recorded = {"neck", "loss", "choose_on", "train_images"}
    named = recorded | {one.name for one in (*fields(Task), *fields(Recipe))}
    assert named <= TITLES.keys()
    words = [title_of(name) for name in named]
    assert len(set(words)) == len(words)
    assert not any("_" in one for one in words)
    assert title_of("of_another_version") == "Of another version"


def test_arms_trained_alike_say_so(make_comparison: Make) -> None:
    section = training(read_records(make_comparison(seeds=1)))
    assert section is not None
    assert "All arms were trained alike." in section.body
    assert "table-recipes" not in section.body

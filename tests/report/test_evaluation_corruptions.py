"""Corruptions on the page of an evaluation, from a record made up for the tests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from test_evaluation_page import evaluated_folder

from fixhead.report import write_evaluation_page

Make = Callable[..., Path]
PAIR = ("learned-cosine@1", "random-cosine@1")
KINDS = ("impulse-noise", "jpeg")
DOT = "data:image/png;base64,QUJD"


def corrupted_folder(folder: Path, heads: Sequence[str] = PAIR, **changes: Any) -> Path:
    """Give a made-up evaluation two kinds of corruption at two severities."""
    path = evaluated_folder(folder, also=False) / "evaluation.json"
    found = json.loads(path.read_text())
    pictures = [
        {
            "kind": kind, "severity": severity, "label": 0, "image": DOT,
            "recognised": {head: float(place < severity) for place, head in enumerate(heads)},
        }
        for kind in KINDS for severity in (1, 2)
    ]  # fmt: skip
    held = len(heads) > 1
    arms = [
        {
            "head": head, "mean_accuracy": 0.6,
            "accuracy": {kind: {"1": 0.7, "2": 0.5 - 0.1 * place} for kind in KINDS},
            "corruption_error": dict.fromkeys(KINDS, 1 + 0.125 * place) if held else None,
            "mean_corruption_error": 1 + 0.125 * place if held else None,
        }
        for place, head in enumerate(heads)
    ]  # fmt: skip
    found["corruptions"] = {
        "kinds": list(KINDS), "severities": [1, 2], "published": None, "table": 32, "seed": 0,
        "baseline": heads[0] if held else None, "arms": arms,
        "examples": {"index": 7, "label": 0, "image": DOT, "pictures": pictures},
    } | changes  # fmt: skip
    path.write_text(json.dumps(found))
    return folder


def section(folder: Path) -> str:
    text = write_evaluation_page(folder).read_text(encoding="utf-8")
    found = re.search(r'<section id="corruptions".*?</section>', text, re.S)
    assert found is not None
    return found.group(0)


def test_every_arm_has_its_table_and_its_error_against_the_baseline(make_comparison: Make) -> None:
    text = section(corrupted_folder(make_comparison(heads=PAIR, seeds=2)))
    for place in (0, 1):
        table = re.search(rf'<table id="table-corruption-{place}".*?</table>', text, re.S)
        assert table is not None
        for kind in ("impulse noise", "jpeg"):
            assert re.search(rf"{kind}</th>.*?70\.0.*?{50 - 10 * place}\.0.*?</tr>", table[0], re.S)
    assert ">1.125<" in text
    assert f"by that of {PAIR[0]}" in text
    assert "published for 32 pixels and the seed 0" in text


def test_the_example_shows_each_picture_with_who_recognises_it(make_comparison: Make) -> None:
    text = section(corrupted_folder(make_comparison(heads=PAIR, seeds=2)))
    assert text.count(f'src="{DOT}"') == 1 + len(KINDS) * 2
    assert text.count(f'alt="jpeg, severity 1: recognised by {PAIR[0]}"') == 1
    assert text.count(f'alt="jpeg, severity 2: recognised by {PAIR[0]} and {PAIR[1]}"') == 1
    assert "Test image number 7" in text


def test_one_arm_has_no_error_and_a_published_set_is_named(make_comparison: Make) -> None:
    folder = make_comparison(heads=PAIR[:1], seeds=1, accuracies={PAIR[0]: [0.9]})
    changes = {"published": "CIFAR-10-C", "table": None, "seed": None}
    text = section(corrupted_folder(folder, PAIR[:1], **changes))
    assert "pictures are those of CIFAR-10-C" in text
    assert "against" not in text
    assert "table-corruption-arms" not in text


def test_pictures_of_another_order_have_no_uncorrupted_one(make_comparison: Make) -> None:
    folder = corrupted_folder(make_comparison(heads=PAIR, seeds=1))
    path = folder / "evaluation.json"
    found = json.loads(path.read_text())
    found["corruptions"]["examples"] |= {"index": None, "label": None, "image": None}
    path.write_text(json.dumps(found))
    text = section(folder)
    assert "Not corrupted" not in text
    assert "The first image of each kind" in text

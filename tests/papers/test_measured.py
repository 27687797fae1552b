"""What the README says was measured is what the records give, and no more than they show."""

import importlib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from fixhead.papers import items

ROOT = Path(__file__).parents[2]


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return importlib.import_module("measured")


def test_readme_picture_and_status_are_what_the_records_give(measured):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert measured.updated(readme) == readme
    assert measured.STATUS.read_text(encoding="utf-8") == measured.status()
    assert measured.PICTURE.read_text(encoding="utf-8") == measured.picture(measured.SHOWN)


def test_an_interval_that_holds_zero_says_not_shown_in_its_line(measured):
    for one in measured.SHOWN:
        _, ends = one.points()
        line = measured.found_here(one)
        if ends is None:
            assert "lead only" in line
        elif ends[0] <= -one.margin <= ends[1]:
            assert line.endswith("**not shown**")
        else:
            assert "holds here" in line


def test_every_paper_has_its_line_and_every_item_its_state(measured):
    table = measured.claims_table()
    for paper in ("Shalev", "de la Calle", "Yang", "Hoffer"):
        assert paper in table
    status = measured.status()
    for item in items():
        assert f"| {item.paper} | {item.name} | {item.title} |" in status


def test_the_picture_is_well_formed_and_has_a_mark_for_every_claim(measured):
    root = ET.fromstring(measured.picture(measured.SHOWN))
    name = "{http://www.w3.org/2000/svg}"
    printed = [one for one in measured.SHOWN if one.printed() is not None]
    assert len(root.findall(f"{name}circle")) == 1 + len(measured.SHOWN)
    assert len(root.findall(f"{name}polygon")) == 1 + len(printed)


def test_an_opposite_claim_turns_its_signs(measured):
    hoffer = measured.SHOWN[-1]
    difference = hoffer.found()["difference"]
    mean, (low, high) = hoffer.points()
    assert mean == pytest.approx(-100 * difference["mean"])
    assert (low, high) == pytest.approx(
        (-100 * difference["ci95"][1], -100 * difference["ci95"][0])
    )
    assert hoffer.printed() == (pytest.approx(93.14 - 93.03), True)

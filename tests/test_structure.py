"""The house stays simple: the figures of ``benchmarks/structure.py``, and what they count."""

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "structure.py"


@pytest.fixture(scope="module")
def structure():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def figures(structure):
    return structure["figures"](runs=False)


def test_no_chain_of_imports_is_longer_than_twenty_two(figures):
    assert figures["longest_chain"] <= 22, figures["chain"]


def test_no_modules_import_one_another_in_a_circle(figures):
    assert figures["circles"] == []


def test_few_modules_have_exactly_one_importer(figures):
    assert figures["one_importer_percent"] <= 22, figures["one_importer"]


def test_a_chain_and_a_circle_are_found_where_there_are_some(structure):
    straight = {"a": {"b", "c"}, "b": {"c"}, "c": {"d"}, "d": set()}
    assert structure["longest_chain"](straight) == ["a", "b", "c", "d"]
    assert structure["circles"](straight) == []
    assert structure["circles"]({**straight, "d": {"b"}}) == [["b", "c", "d"]]


def test_running_code_enters_the_files_of_ours_that_it_calls(structure):
    code = "import fixhead.vectors as v\ncount()\nv.one_hot(3, 3)"
    files, changes = structure["entered"](code)
    assert 1 < files < 8
    assert changes >= files

"""docs/vectors.md: its code runs, and every construction has its picture and its place."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fixhead import vectors

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "vectors.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def drawing():
    spec = importlib.util.spec_from_file_location("draw_vectors", DOCS / "draw_vectors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_code_of_the_page_runs(capsys):
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, "docs/vectors.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "bound reached" in printed
    assert "gold" in printed or "delsarte-goethals" in printed


@pytest.mark.parametrize("name", sorted(vectors.CONSTRUCTIONS))
def test_every_construction_has_a_section_and_a_picture(name: str, drawing):
    assert f"\n### {name}\n" in PAGE
    assert f'src="pictures/{name}.svg"' in PAGE
    stored = (DOCS / "pictures" / f"{name}.svg").read_text(encoding="utf-8")
    drawn = drawing.PICTURES[name]()
    assert ElementTree.fromstring(stored).tag.endswith("svg")
    # Same shapes, though a rotation may differ in a last digit from machine to machine.
    assert re.sub(r"[-0-9.]+", "#", stored) == re.sub(r"[-0-9.]+", "#", drawn)
    assert len(stored) < 20_000

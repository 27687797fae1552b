"""docs/vectors.md: every construction has its picture and its place."""

from __future__ import annotations

import importlib.util
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


@pytest.mark.parametrize("name", sorted(vectors.CONSTRUCTIONS))
def test_every_construction_has_a_section_and_a_picture(name: str, drawing):
    assert f"\n### {name}\n" in PAGE
    assert f'src="pictures/{name}.svg"' in PAGE
    stored = (DOCS / "pictures" / f"{name}.svg").read_text(encoding="utf-8")
    drawn = drawing.PICTURES[name]()
    assert ElementTree.fromstring(stored).tag.endswith("svg")
    # As many shapes; where they lie may differ in a last digit from machine to machine.
    for shape in ("<svg", "<circle", "<line", "<ellipse"):
        assert stored.count(shape) == drawn.count(shape)
    assert len(stored) < 20_000

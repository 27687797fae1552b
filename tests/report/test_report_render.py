"""Templates: what is text in a record stays text on the page, whatever it looks like."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markupsafe import Markup

from fixhead.report.render import document, fill, join
from fixhead.report.tables import Column, TableCell, TableRow, render_table


class Reader(HTMLParser):
    """What a browser would read: the tags, their attributes and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(str(text))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)


@settings(deadline=None, max_examples=200)
@given(PLAIN, PLAIN)
def test_any_text_is_read_back_as_that_text_and_adds_no_tag(text: str, value: str) -> None:
    read = Reader(fill("parts", "paragraph", text, value or "x"))
    assert read.tags == [("p", {"class": value or "x"})]
    assert read.text == text


@settings(deadline=None, max_examples=100)
@given(PLAIN, PLAIN)
def test_a_cell_and_its_sort_key_are_read_back(text: str, value: str) -> None:
    row = TableRow([TableCell("arm"), TableCell(text, value)], {"data-arms": value})
    read = Reader(render_table("t", "caption", [Column("Head"), Column("x")], [row]))
    ((_, cell),) = [one for one in read.tags if one[0] == "td"]
    assert cell["data-v"] == value
    assert [a["data-arms"] for tag, a in read.tags if "data-arms" in a] == [value]
    assert read.text == f"captionHeadxarm{text}"


def test_markup_passes_unchanged_and_text_does_not() -> None:
    inner = fill("cells", "over", "a < b", "")
    assert inner == "<span>a &lt; b</span>"
    assert fill("parts", "paragraph", inner) == f"<p>{inner}</p>"
    assert fill("parts", "paragraph", Markup("<i>")) == "<p><i></p>"


def test_nothing_is_printed_for_none_and_a_misspelt_name_is_an_error() -> None:
    row = TableRow([TableCell("x", None)])
    assert 'data-v=""' in render_table("t", "", [Column("Head")], [row])
    with pytest.raises(UndefinedError):
        document("page")


def test_a_row_of_another_width_than_its_table_is_refused() -> None:
    with pytest.raises(ValueError, match="2 cells for 1 columns"):
        render_table("t", "", [Column("Head")], [TableRow([TableCell("a"), TableCell("b")])])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.one_of(st.none(), PLAIN)))
def test_joining_leaves_out_nothing_but_none(parts: list[str | None]) -> None:
    read = Reader(f"<p>{join(parts)}</p>")
    assert read.text == "".join(part for part in parts if part)

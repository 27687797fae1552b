from __future__ import annotations

import html
from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead.report.html import Html, element, escape, join


class Reader(HTMLParser):
    """What a browser would read: the tags, their attributes and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)


@settings(deadline=None, max_examples=200)
@given(PLAIN, PLAIN)
def test_any_text_is_read_back_as_that_text_and_adds_no_tag(text: str, value: str) -> None:
    read = Reader(element("td", text, data_v=value))
    assert read.tags == [("td", {"data-v": value})]
    assert read.text == text


def test_html_passes_unchanged_and_text_does_not() -> None:
    inner = element("b", "a < b")
    assert element("p", inner, " & c") == "<p><b>a &lt; b</b> &amp; c</p>"
    assert escape(Html("<i>")) == "<i>"


def test_attributes_may_stand_alone_or_be_left_out() -> None:
    made = element("option", "x", value=0, selected=True, hidden=False, title=None, class_="c")
    assert made == '<option value="0" selected class="c">x</option>'


def test_void_elements_have_no_end() -> None:
    assert element("meta", http_equiv="refresh") == '<meta http-equiv="refresh">'


@settings(deadline=None, max_examples=50)
@given(st.lists(st.one_of(st.none(), PLAIN)))
def test_joining_leaves_out_nothing_but_none(parts: list[str | None]) -> None:
    assert html.unescape(join(parts)) == html.unescape("".join(escape(p) for p in parts if p))

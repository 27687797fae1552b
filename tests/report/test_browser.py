"""The page as a person meets it: opened in headless Chromium, at a desktop's and a phone's width.

Skipped, and says so, where there is no Chromium; with FIXHEAD_REQUIRE_BROWSER=1 that is a failure.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from test_evaluation_page import evaluated_folder
from test_paper_page import DATA, results
from test_report_browser import picture_confusions
from test_report_collapse import collapsing

from fixhead.report import write_evaluation_page, write_page, write_paper_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

Make = Callable[..., Path]
NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PAIR = ("learned-cosine@1", "random-cosine@1")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
SIZES_IN_TURN = ["desktop", pytest.param("phone", marks=pytest.mark.slow)]
HOSTILE = ('<img src=x onerror="hacked=1">', "</script><b>bold</b>", "plain & simple " * 9)


def find_browser() -> str:
    """Chromium's path; without one, or without Playwright, skip or (when required) fail."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    missing = []
    if path is None:
        missing.append(f"no Chromium on the path (looked for {', '.join(NAMES)})")
    if importlib.util.find_spec("playwright") is None:
        missing.append("the package playwright is not installed")
    if path is not None and not missing:
        return path
    reason = f"the page was not opened in a browser: {'; '.join(missing)}"
    if os.environ.get("FIXHEAD_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


class Visit:
    """An opened page, with all that it complained about or asked the network for."""

    def __init__(self, browser: Browser, path: Path, size: str, **options: Any) -> None:
        width, height = SIZES[size]
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, has_touch=size == "phone", **options
        )
        self.context.set_offline(True)
        self.page: Page = self.context.new_page()
        self.troubles: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self._heard(message.type, message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.troubles.append(text)

    def draw_all(self) -> None:
        self.page.evaluate("fixheadDrawAll()")

    @property
    def counts(self) -> tuple[int, int]:
        drawn, expected = self.page.evaluate(
            "(({plots, plotsExpected}) => [plots, plotsExpected])(document.documentElement.dataset)"
        )
        return int(drawn), int(expected)

    def wait_until(self, expression: str, seconds: float = 30) -> None:
        """Ask again and again; Playwright's own waiting needs eval, which the page forbids."""
        deadline = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"never came true: {expression}"
            self.page.wait_for_timeout(30)

    def assert_sound(self, path: Path) -> None:
        assert self.troubles == []
        assert [url for url in self.requests if not url.startswith("data:")] == [path.as_uri()]

    def assert_nothing_sticks_out(self) -> None:
        wide, window = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= window


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    made: list[Visit] = []

    def open_page(path: Path, size: str = "desktop", **options: Any) -> Visit:
        made.append(Visit(browser, path, size, **options))
        return made[-1]

    yield open_page
    for one in made:
        one.context.close()


@pytest.mark.parametrize(
    ("scheme", "size"),
    [
        ("dark", "phone"),
        pytest.param("light", "desktop", marks=pytest.mark.slow),
        pytest.param("light", "phone", marks=pytest.mark.slow),
        pytest.param("dark", "desktop", marks=pytest.mark.slow),
    ],
)
def test_every_plot_is_drawn_without_an_error_a_request_or_an_overflow(
    make_comparison: Make, visit: Callable[..., Visit], size: str, scheme: str
) -> None:
    path = write_page(make_comparison(failed=("hadamard-seed1",)))
    seen = visit(path, size, color_scheme=scheme)
    seen.draw_all()
    assert seen.counts == (17, 17)
    drawn = seen.page.evaluate(
        "[...document.querySelectorAll('[data-plot]')].map(e => [e.dataset.plot, "
        "e.querySelectorAll('.main-svg .trace, .main-svg .heatmaplayer image').length])"
    )
    assert [name for name, traces in drawn if not traces] == []
    seen.assert_nothing_sticks_out()
    seen.assert_sound(path)


@pytest.mark.slow
def test_nothing_sticks_out_at_any_width(
    make_comparison: Make, visit: Callable[..., Visit]
) -> None:
    names = tuple(f"a-class-name-without-a-place-to-break-it-{place}" for place in range(12))
    seen = visit(write_page(make_comparison(classes=names, seeds=1)))
    seen.draw_all()
    for width in (320, 360, 600, 780, 939, 940, 1000, 1101):
        seen.page.set_viewport_size({"width": width, "height": 800})
        # The plots follow their boxes; the first is the widest.
        seen.wait_until(
            "(() => { const plot = document.querySelector('#plot-curves');"
            " return plot.querySelector('.main-svg').clientWidth === plot.clientWidth; })()"
        )
        seen.assert_nothing_sticks_out()


def test_plots_are_drawn_when_they_come_into_view(
    make_comparison: Make, visit: Callable[..., Visit]
) -> None:
    seen = visit(write_page(make_comparison(seeds=1)))
    assert seen.counts[0] < 17
    seen.page.locator("#plot-classes").scroll_into_view_if_needed()
    seen.page.wait_for_selector("#plot-classes .main-svg")
    assert not seen.page.locator("#plot-vectors-3 .main-svg").count()


def test_names_that_look_like_html_are_only_text(
    make_comparison: Make, visit: Callable[..., Visit]
) -> None:
    path = write_page(make_comparison(heads=PAIR, classes=HOSTILE, seeds=1, images=60))
    seen = visit(path)
    seen.draw_all()
    seen.page.locator("#plot-classes").scroll_into_view_if_needed()
    for name in ("classes", "vectors-0", "confusion-0"):
        seen.page.locator(f"#plot-{name} + .foot summary").click()
        seen.page.locator(f"[data-table={name}] tbody tr").first.wait_for()
    table = seen.page.locator("[data-table=classes] tbody th").all_text_contents()
    assert [text.strip() for text in table] == [name.strip() for name in HOSTILE]
    assert seen.page.evaluate("typeof hacked") == "undefined"
    assert not seen.page.locator("main img, main b:text-is('bold')").count()
    labels = seen.page.locator("#plot-classes .ytick text").all_text_contents()
    assert labels[0].startswith("<img src=")
    seen.assert_sound(path)


def test_hovering_over_the_matrix_names_both_classes(
    make_comparison: Make, visit: Callable[..., Visit]
) -> None:
    names = tuple(f"animal <{place}>" for place in range(5))
    seen = visit(write_page(make_comparison(heads=PAIR, classes=names, seeds=1)))
    matrix = seen.page.locator("#plot-vectors-0")
    matrix.scroll_into_view_if_needed()
    seen.page.wait_for_selector("#plot-vectors-0 .heatmaplayer image")
    drawing = seen.page.locator("#plot-vectors-0 .nsewdrag").bounding_box()
    assert drawing is not None
    # row 1, column 3 of five
    x = drawing["x"] + drawing["width"] * 0.7
    y = drawing["y"] + drawing["height"] * 0.3
    seen.page.mouse.move(x, y)
    seen.page.mouse.move(x + 2, y + 1)
    seen.page.wait_for_selector("#plot-vectors-0 .hoverlayer .hovertext")
    text = seen.page.locator("#plot-vectors-0 .hoverlayer").text_content() or ""
    assert "animal <1>" in text
    assert "animal <3>" in text
    record = '"vectors-0"].upper'
    upper = seen.page.evaluate(
        f'JSON.parse(document.getElementById("page-data").textContent).figures[{record}'
    )
    assert f"{upper[4 + 1] / 1000:.3f}".replace("-", "−") in text


def test_tabs_are_reached_and_switched_by_keyboard(
    make_comparison: Make, visit: Callable[..., Visit]
) -> None:
    seen = visit(write_page(make_comparison(seeds=1)))
    keyboard, page = seen.page.keyboard, seen.page
    keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(60):
        if page.evaluate("document.activeElement.getAttribute('role')") == "tab":
            break
        keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "tab-0"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    for key, tab in [
        ("ArrowRight", 1),
        ("End", 5),
        ("ArrowRight", 0),
        ("ArrowLeft", 5),
        ("Home", 0),
    ]:
        keyboard.press(key)
        assert page.evaluate("document.activeElement.id") == f"tab-{tab}"
        assert (
            page.locator("#vectors [role=tab][aria-selected=true]").get_attribute("id")
            == f"tab-{tab}"
        )
        assert (
            page.locator("#vectors [role=tabpanel]:visible").get_attribute("id") == f"panel-{tab}"
        )
    keyboard.press("ArrowRight")
    page.wait_for_selector("#panel-1 .main-svg")
    # one stop for all the tabs: the next is inside the page, not the next tab
    keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "panel-1"


@pytest.mark.slow
def test_a_plot_fits_its_panel_after_its_tab_is_opened(
    make_comparison: Make, visit: Callable[..., Visit]
) -> None:
    seen = visit(write_page(make_comparison(seeds=1)), "phone")
    seen.draw_all()
    seen.page.click("#tab-2")
    seen.wait_until(
        "(() => { const plot = document.querySelector('#plot-vectors-2');"
        " return plot.clientWidth > 200 && Math.abs(plot.clientWidth -"
        " plot.querySelector('.main-svg').clientWidth) <= 1; })()"
    )


@pytest.mark.slow
def test_a_finger_on_a_plot_scrolls_the_page(
    make_comparison: Make, visit: Callable[..., Visit]
) -> None:
    seen = visit(write_page(make_comparison(heads=PAIR, seeds=1)), "phone", is_mobile=True)
    seen.draw_all()
    plot = seen.page.locator("#plot-curves")
    plot.evaluate("plot => plot.scrollIntoView({ block: 'center', behavior: 'instant' })")
    before = seen.page.evaluate("scrollY")
    finger = seen.context.new_cdp_session(seen.page)
    for kind, up in [("touchStart", 0), *(("touchMove", 15 * n) for n in range(1, 11))]:
        points = [{"x": 195, "y": 420 - up}]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    seen.wait_until(f"scrollY > {before + 50}")


def test_columns_sort_by_click_and_by_keyboard(
    make_comparison: Make, visit: Callable[..., Visit]
) -> None:
    seen = visit(
        write_page(make_comparison(failed=("hadamard-seed0", "hadamard-seed1", "hadamard-seed2")))
    )
    table = seen.page.locator("#table-arms")
    column = "tbody tr > :nth-child(2)"

    def values() -> list[str | None]:
        return [cell.get_attribute("data-v") for cell in table.locator(column).all()]

    known = sorted((float(value) for value in values() if value), reverse=True)
    table.locator("th:nth-child(2) .sort").click()
    assert [float(value or "nan") for value in values()[:5]] == known
    assert values()[5] == ""
    assert table.locator("th:nth-child(2)").get_attribute("aria-sort") == "descending"
    table.locator("th:nth-child(2) .sort").press("Enter")
    assert [float(value or "nan") for value in values()[:5]] == known[::-1]
    assert values()[5] == ""
    assert table.locator("th:nth-child(2)").get_attribute("aria-sort") == "ascending"


def test_pairs_can_be_held_to_one_arm(make_comparison: Make, visit: Callable[..., Visit]) -> None:
    seen = visit(write_page(make_comparison()))
    assert seen.page.locator("#table-pairs tbody tr:visible").count() == 15
    seen.page.locator("[data-filter=table-pairs]").select_option("simplex")
    rows = seen.page.locator("#table-pairs tbody tr:visible")
    assert rows.count() == 5
    assert all("simplex" in text for text in rows.all_text_contents())
    assert seen.page.locator("[data-shown=table-pairs]").text_content() == "5 of 15 pairs"


def test_the_theme_button_changes_page_and_plots_and_is_remembered(
    make_comparison: Make, visit: Callable[..., Visit]
) -> None:
    seen = visit(write_page(make_comparison(heads=PAIR, seeds=1)), color_scheme="light")
    page = seen.page
    page.locator("#plot-curves").scroll_into_view_if_needed()
    page.wait_for_selector("#plot-curves .main-svg")
    ground = "getComputedStyle(document.body).backgroundColor"
    tick = "document.querySelector('#plot-curves .xtick text').style.fill"
    before = page.evaluate(ground), page.evaluate(tick)
    assert page.locator("#theme").get_attribute("aria-label") == "Switch to the dark theme"
    page.click("#theme")
    seen.wait_until(f"{tick} !== {before[1]!r}")
    assert page.evaluate(ground) != before[0]
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_the_legend_hides_an_arm_and_says_so(
    make_comparison: Make, visit: Callable[..., Visit]
) -> None:
    seen = visit(write_page(make_comparison(seeds=2)))
    seen.page.locator("#plot-curves").scroll_into_view_if_needed()
    seen.page.wait_for_selector("#plot-curves .main-svg")
    lines = "document.querySelectorAll('#plot-curves .scatterlayer .trace').length"
    before = seen.page.evaluate(lines)
    key = seen.page.locator(".legend [data-figure=curves][data-arm='4']")
    key.press("Space")
    assert key.get_attribute("aria-pressed") == "false"
    seen.wait_until(f"{lines} === {before - 4}")  # two runs, their mean, their marks


def test_a_choice_redraws_the_curves(make_comparison: Make, visit: Callable[..., Visit]) -> None:
    seen = visit(write_page(make_comparison(heads=PAIR, seeds=1)))
    seen.page.locator("#plot-curves").scroll_into_view_if_needed()
    seen.page.wait_for_selector("#plot-curves .main-svg")
    for choice in ("val_error", "val_loss", "train_accuracy", "train_loss", "val_accuracy"):
        seen.page.locator("[data-control=measure]").select_option(choice)
        wanted = "log" if choice == "val_error" else "linear"
        seen.wait_until(
            f"document.querySelector('#plot-curves')._fullLayout.yaxis.type === '{wanted}'"
        )
    assert seen.troubles == []


def test_data_are_there_as_a_table_and_as_csv(
    make_comparison: Make, visit: Callable[..., Visit], tmp_path: Path
) -> None:
    seen = visit(write_page(make_comparison(heads=("simplex",), seeds=1, epochs=4)))
    seen.page.locator("#plot-curves + .foot summary").click()
    rows = seen.page.locator("[data-table=curves] tbody tr")
    rows.first.wait_for()
    assert rows.count() == 4
    assert (rows.first.text_content() or "").startswith("simplex")
    with seen.page.expect_download() as download:
        seen.page.locator("[data-save=csv][data-figure=curves]").click()
    download.value.save_as(tmp_path / "curves.csv")
    lines = (tmp_path / "curves.csv").read_text().splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("Head,Seed,Epoch,Validation accuracy")
    with seen.page.expect_download() as download:
        seen.page.locator("[data-save=svg][data-figure=curves]").click()
    download.value.save_as(tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").read_text().startswith("<svg")


def test_the_command_is_copied(make_comparison: Make, visit: Callable[..., Visit]) -> None:
    seen = visit(
        write_page(make_comparison(heads=PAIR, seeds=1)),
        permissions=["clipboard-read", "clipboard-write"],
    )
    seen.page.locator("[data-copy=command]").click()
    seen.wait_until("document.getElementById('copied').textContent !== ''")
    copied = seen.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("fixhead compare \\\n")
    assert copied == seen.page.locator("#command").text_content()


def test_printing_draws_everything_in_light_and_whole(
    make_comparison: Make, visit: Callable[..., Visit]
) -> None:
    folder = picture_confusions(make_comparison(heads=PAIR, seeds=1))
    seen = visit(write_page(folder), color_scheme="dark")
    seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    seen.page.emulate_media(media="print")
    seen.wait_until(
        "document.documentElement.dataset.plots === document.documentElement.dataset.plotsExpected"
    )
    assert seen.page.evaluate("document.documentElement.dataset.theme") == "light"
    assert (
        seen.page.evaluate(
            "[...document.querySelectorAll('[data-plot]')].filter(plot => {"
            " const [drawn, box] = [plot.querySelector('.main-svg').clientWidth, plot.clientWidth];"
            " return drawn > box + 1 || box < 200 || plot.getBoundingClientRect().right > 1000; })"
            ".map(plot => plot.id)"
        )
        == []
    )
    assert seen.page.evaluate("document.querySelector('main').clientWidth") <= 690
    assert seen.page.locator("[role=tabpanel]:visible").count() == 4
    assert seen.page.locator("#vectors .printed:visible").count() == 2
    assert seen.page.locator("details:not(.foot details):not([open])").count() == 0
    tile = seen.page.locator(".tile").first
    assert tile.evaluate("one => getComputedStyle(one).printColorAdjust") == "exact"
    assert seen.page.pdf().startswith(b"%PDF")
    seen.page.emulate_media(media="screen")
    seen.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert seen.page.evaluate("document.documentElement.dataset.theme ?? 'none'") == "none"
    assert seen.page.locator("details[open]").count() == 0
    assert seen.troubles == []


@pytest.mark.parametrize("epochs", [1, pytest.param(12, marks=pytest.mark.slow)])
def test_no_axis_of_a_share_leaves_0_to_100_percent(
    make_comparison: Make, visit: Callable[..., Visit], epochs: int
) -> None:
    perfect = {head: [1.0] for head in PAIR}
    path = write_page(make_comparison(heads=PAIR, seeds=1, epochs=epochs, accuracies=perfect))
    seen = visit(path)
    seen.draw_all()
    layout = "document.querySelector('#plot-curves')._fullLayout.yaxis"
    for choice in ("val_accuracy", "train_accuracy", "val_error"):
        seen.page.locator("[data-control=measure]").select_option(choice)
        kind = "log" if choice == "val_error" else "linear"
        seen.wait_until(f"{layout}.type === '{kind}'")
        low, high = seen.page.evaluate(f"{layout}.range")
        low, high = (10**low, 10**high) if kind == "log" else (low, high)
        assert 0 <= low < high <= 1
    low, high = seen.page.evaluate(
        "document.querySelector('#plot-classes')._fullLayout.xaxis.range"
    )
    assert 0 <= low < high <= 1


@pytest.mark.parametrize("size", SIZES_IN_TURN)
def test_every_kind_of_a_papers_figures_is_drawn(
    tmp_path: Path, visit: Callable[..., Visit], size: str
) -> None:
    figures = [
        {"kind": kind, "title": kind, "measured": "here", "printed": "there", "data": data}
        for kind, data in DATA.items()
    ]
    (tmp_path / "results.json").write_text(json.dumps(results(figures=figures)))
    path = write_paper_page(tmp_path)
    seen = visit(path, size)
    seen.draw_all()
    drawn, expected = seen.counts
    assert drawn == expected == len(DATA)
    place = list(DATA).index("matrix")
    assert seen.page.locator(f"#plot-figure-{place} .colorbar").count() == 1
    labels = seen.page.locator(f"#plot-figure-{place} .ytick text").all_text_contents()
    assert labels == ["a", "b"]
    for place in range(len(DATA)):
        seen.page.locator(f"#plot-figure-{place} + .foot summary").click()
        seen.page.locator(f"[data-table=figure-{place}] tbody tr").first.wait_for()
    seen.assert_nothing_sticks_out()
    seen.assert_sound(path)


@pytest.mark.slow
def test_little_motion_is_respected(make_comparison: Make, visit: Callable[..., Visit]) -> None:
    path = write_page(make_comparison(heads=("simplex",), seeds=1))
    behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
    assert visit(path, reduced_motion="reduce").page.evaluate(behaviour) == "auto"
    assert visit(path, reduced_motion="no-preference").page.evaluate(behaviour) == "smooth"


def test_without_scripts_the_words_and_tables_stay(
    make_comparison: Make, visit: Callable[..., Visit]
) -> None:
    seen = visit(write_page(make_comparison()), java_script_enabled=False)
    assert seen.page.locator("noscript p").is_visible()
    assert seen.page.locator(".headline").is_visible()
    assert seen.page.locator("#table-pairs tbody tr").count() == 15
    assert seen.page.locator("#vectors [role=tabpanel]:visible").count() == 6
    assert seen.page.locator("#confused [role=tabpanel]:visible").count() == 6


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            {"heads": ("random-cosine@1",), "classes": ("cat", "dog"), "seeds": 1, "epochs": 1},
            id="two classes, one run",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"failed": tuple(f"simplex-seed{seed}" for seed in range(3))}, id="an arm that failed"
        ),
        pytest.param(
            {"without_history": ("simplex-seed0",), "matrices": False},
            id="no matrices",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"heads": ("simplex",), "failed": ("simplex-seed0",), "seeds": 1},
            id="nothing finished",
        ),
    ],
)
def test_odd_records_are_drawn_as_far_as_they_go(
    make_comparison: Make, visit: Callable[..., Visit], options: dict[str, Any]
) -> None:
    path = write_page(make_comparison(**options))
    seen = visit(path, "phone")
    seen.draw_all()
    drawn, expected = seen.counts
    assert drawn == expected
    seen.assert_nothing_sticks_out()
    seen.assert_sound(path)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_twelve_arms_and_two_hundred_classes_are_drawn(
    make_comparison: Make, visit: Callable[..., Visit], size: str
) -> None:
    heads = tuple(make_comparison.__globals__["ARMS"])
    names = tuple(f"class number {place}, with a longish name" for place in range(200))
    folder = picture_confusions(make_comparison(heads=heads, classes=names, seeds=2, images=50))
    path = write_page(folder)
    assert path.stat().st_size < 15_000_000
    usable = []  # seconds until the page is open and a tab answers; other work may disturb one
    for _ in range(3):
        start = time.monotonic()
        seen = visit(path, size)
        seen.page.click("#tab-1")
        assert seen.page.locator("#panel-1").is_visible()
        usable.append(time.monotonic() - start)
    print(f"{size}: {path.stat().st_size} bytes, usable after {min(usable):.2f} s")
    assert min(usable) < 3
    seen.draw_all()
    assert seen.counts == (29, 29)
    assert seen.page.locator("#table-pairs tbody tr:visible").count() == 11
    seen.page.locator("[data-control=shown]").select_option("all")
    seen.wait_until("document.querySelectorAll('#plot-classes .ytick').length === 200")
    seen.assert_nothing_sticks_out()
    seen.assert_sound(path)


def test_a_missing_browser_is_skipped_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("FIXHEAD_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="looked for chromium"):
        find_browser()


def test_a_missing_browser_is_a_failure_where_it_is_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv("FIXHEAD_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="looked for chromium"):
        find_browser()


def test_collapse_and_plane_are_drawn_and_redrawn(
    make_comparison: Make, visit: Callable[..., Visit]
) -> None:
    path = write_page(collapsing(make_comparison(heads=PAIR, seeds=2, epochs=5), plane=True))
    seen = visit(path)
    seen.draw_all()
    axis = "document.querySelector('#plot-collapse')._fullLayout.yaxis.type"
    assert seen.page.evaluate(axis) == "log"
    seen.page.locator("[data-figure=collapse][data-control=measure]").select_option("alignment")
    seen.wait_until(f"{axis} === 'linear'")
    traces = "document.querySelectorAll('#plot-plane .scatterlayer .trace').length"
    assert seen.page.evaluate(traces) == 2 + 3 * 10  # sectors; paths, shafts and tips
    seen.page.locator("#plot-plane + .foot summary").click()
    rows = seen.page.locator("[data-table=plane] tbody tr")
    seen.wait_until("document.querySelectorAll('[data-table=plane] tbody tr').length === 10")
    assert rows.nth(0).locator("td").nth(0).inner_text() == "0.5"
    seen.page.locator("#plot-collapse + .foot summary").click()
    seen.wait_until("document.querySelectorAll('[data-table=collapse] tbody tr').length === 20")
    seen.assert_sound(path)
    seen.assert_nothing_sticks_out()


@pytest.mark.slow
def test_the_slider_moves_the_plane_and_its_table(
    make_comparison: Make, visit: Callable[..., Visit]
) -> None:
    path = write_page(collapsing(make_comparison(heads=PAIR, seeds=1, epochs=5), plane=True))
    seen = visit(path, reduced_motion="reduce")
    seen.draw_all()
    slider = seen.page.locator("[data-figure=plane][data-control=epoch]")
    assert slider.get_attribute("aria-valuetext") == "Epoch 5"
    slider.press("Home")
    assert slider.get_attribute("aria-valuetext") == "Epoch 1"
    assert seen.page.locator(".slider output").inner_text() == "1"
    tip = "document.querySelector('#plot-plane').data.filter(t => t.mode.includes('text'))[1].x[0]"
    seen.wait_until(f"Math.abs({tip} - Math.cos(0.61)) < 1e-3")
    seen.page.locator("[data-play=plane]").click()
    seen.wait_until(f"Math.abs({tip} - Math.cos(0.65)) < 1e-3")
    seen.wait_until("document.querySelector('[data-play=plane]').textContent === 'Play'")
    seen.assert_sound(path)


def test_matrices_stand_side_by_side_in_one_order(
    make_comparison: Make, visit: Callable[..., Visit]
) -> None:
    path = write_page(make_comparison(seeds=1))
    seen = visit(path)
    seen.draw_all()
    first = "document.querySelector('#plot-matrices').data"
    assert seen.page.evaluate(f"{first}.length") == 6
    names = seen.page.evaluate(f"{first}.map(one => one.customdata.map((row, i) => row[i]).join())")
    assert len(set(names)) == 1
    seen.page.locator("[data-figure=matrices][data-control]").select_option("given")
    seen.wait_until(f"{first}[0].customdata[1][1] === '1'")
    seen.assert_sound(path)


@pytest.mark.parametrize("size", SIZES_IN_TURN)
def test_an_evaluation_is_drawn_without_an_error_a_request_or_an_overflow(
    make_comparison: Make, visit: Callable[..., Visit], size: str
) -> None:
    folder = picture_confusions(make_comparison(heads=PAIR, seeds=2))
    path = write_evaluation_page(evaluated_folder(folder))
    seen = visit(path, size)
    seen.draw_all()
    drawn, expected = seen.counts
    assert drawn == expected == 10
    for view in ("pca", "class-plane"):
        seen.page.locator("[data-figure=views][data-control=view]").select_option(view)
    seen.page.locator("[data-figure=classes][data-control=measure]").select_option("cdnv")
    seen.wait_until("document.querySelector('#plot-classes')._fullLayout.xaxis.tickformat === '~g'")
    seen.assert_nothing_sticks_out()
    seen.assert_sound(path)


def test_confused_pairs_show_their_pictures_and_can_be_held_to_one_class(
    make_comparison: Make, visit: Callable[..., Visit]
) -> None:
    path = write_page(picture_confusions(make_comparison(heads=PAIR, seeds=1)))
    seen = visit(path)
    tile = seen.page.locator("#pairs-panel-0 .tile").first
    tile.scroll_into_view_if_needed()
    assert tile.evaluate("one => getComputedStyle(one).backgroundImage").startswith('url("data:')
    cards = seen.page.locator("#pairs-panel-0 li:visible")
    every = cards.count()
    seen.page.locator("[data-browse]").select_option("3")
    held = cards.count()
    assert 0 < held < every
    assert all("3" in (text or "") for text in cards.all_text_contents())
    assert seen.page.locator("[data-shown=confused]").text_content() == f"{held} of {every} pairs"
    seen.assert_sound(path)

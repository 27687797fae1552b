"""``fixhead serve`` as a person meets it: the command started, its page opened in Chromium."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_browser import ARGUMENTS, SIZES, find_browser

from fixhead.cli import run

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a running page, and the pictures its model learned from."""
    draws = np.random.default_rng(0)
    photos = tmp_path / "photos"
    for kind, level in (("bright", 200), ("dark", 50)):
        (photos / kind).mkdir(parents=True)
        for number in range(20):
            pixels = np.clip(level + draws.normal(0, 20, (8, 8, 3)), 0, 255).astype("u1")
            Image.fromarray(pixels).save(photos / kind / f"{number:02}.png")
    options = ["--head", "simplex", "--epochs", "2", "--batch-size", "8", "--device", "cpu"]
    out = tmp_path / "out"
    assert run(["train", "--data", str(photos), *options, "--out", str(out)]) == 0
    command = [sys.executable, "-m", "fixhead", "serve", str(out / "runs" / "simplex-seed0")]
    with subprocess.Popen(
        [*command, "--port", "0", "--device", "cpu", "--max-mib", "0.01"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[0]
            assert address.startswith("http://127.0.0.1:")
            yield address, photos
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.parametrize("size", SIZES)
def test_a_chosen_picture_gets_its_classes_cosines_and_neighbours(served, tmp_path, size):
    address, photos = served
    path = find_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        width, height = SIZES[size]
        page = chromium.new_page(viewport={"width": width, "height": height})
        troubles: list[str] = []
        asked: list[str] = []
        page.on(
            "console", lambda said: troubles.append(said.text) if said.type == "error" else None
        )
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.set_input_files("#picture", photos / "dark" / "03.png")
        page.locator("#result").wait_for(state="visible", timeout=60_000)
        assert "dark" in page.locator("#verdict").inner_text()
        assert page.locator("#top tr").count() == page.locator("#cosines tr").count() == 2
        assert page.locator("#nearest img").count() == 6
        page.locator("#nearest img").last.evaluate("one => one.decode()")
        assert page.locator("#nearest li").first.inner_text().startswith("dark, ")
        assert troubles == []
        assert all(url.startswith((address, "blob:", "data:")) for url in asked)
        wide, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= window
        noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3)).astype("u1")
        Image.fromarray(noise).save(tmp_path / "large.png")  # more than 0.01 MiB
        page.set_input_files("#picture", tmp_path / "large.png")
        page.get_by_text("--max-mib").wait_for(timeout=60_000)
        assert page.locator("#result").is_hidden()
        chromium.close()

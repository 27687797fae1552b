from __future__ import annotations

import webbrowser
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fixhead import RequestError
from fixhead.cli.report import report

Make = Callable[..., Path]
app = typer.Typer()
app.command()(report)


def test_the_page_is_made_anew_and_its_place_is_printed(make_comparison: Make) -> None:
    folder = make_comparison(seeds=1)
    done = CliRunner().invoke(app, [str(folder)])
    assert done.exit_code == 0
    assert done.stdout.strip() == str(folder / "report.html")
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_open_shows_the_page(make_comparison: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    folder = make_comparison(seeds=1)
    CliRunner().invoke(app, [str(folder), "--open"])
    assert opened == [(folder / "report.html").resolve().as_uri()]


def test_where_no_browser_starts_the_command_says_so_and_is_done(
    make_comparison: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    done = CliRunner().invoke(app, [str(make_comparison(seeds=1)), "--open"])
    assert done.exit_code == 0
    assert "no browser could be started" in done.stderr


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [str(tmp_path)])
    assert isinstance(done.exception, RequestError)
    assert "config.json" in str(done.exception)
    assert list(tmp_path.iterdir()) == []

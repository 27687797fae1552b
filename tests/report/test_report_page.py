from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html import unescape as html_text
from pathlib import Path
from typing import Any

import pytest

import fixhead.report
from fixhead import RequestError
from fixhead.report import page, write_page
from fixhead.runs.layout import REPORT_PAGE

Make = Callable[..., Path]
HOSTILE = (
    '<img src=x onerror="window.hacked=1">',
    "</script><script>window.hacked=1</script>",
    "a & b \"quoted\" 'twice' %{x} $1 \u2028",
)


def _script_data(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', html, re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def _without_scripts(html: str) -> str:
    return re.sub(r"<script>.*?</script>", "", html, flags=re.S)


def test_the_report_knows_nothing_of_the_package_but_records_measures_errors_and_files() -> None:
    for path in Path(fixhead.report.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                rooms = [node.module] if node.module else [alias.name for alias in node.names]
                allowed = ("_errors", "_files", "_lazy", "runs", "measures")
                assert all(room.split(".")[0] in allowed for room in rooms), path.name
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += (
                [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            )
            assert not {name.split(".")[0] for name in names} & {"fixhead", "torch"}, path.name


def test_pages_are_made_without_torch_numpy_scipy_or_plotlys_own_package() -> None:
    code = (
        "import sys, fixhead.report\n"
        "heavy = {'torch', 'numpy', 'scipy', 'plotly'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_same_records_give_the_same_page(make_comparison: Make) -> None:
    folder = make_comparison(seeds=1)
    first = write_page(folder).read_bytes()
    assert write_page(folder).read_bytes() == first


def test_only_records_are_read(make_comparison: Make) -> None:
    folder = make_comparison(seeds=1)
    (folder / "runs" / "simplex-seed0" / "model.safetensors").write_bytes(b"not a model")
    (folder / "runs" / "simplex-seed0" / "config.json").write_bytes(b"not json")
    assert write_page(folder).exists()


def test_nothing_is_fetched_and_only_the_pages_own_scripts_may_run(make_comparison: Make) -> None:
    html = write_page(make_comparison(seeds=1)).read_text(encoding="utf-8")
    bare = _without_scripts(html)
    assert not re.search(r"<(script|link|img|iframe|object)[^>]+(src|href)=\"(?!data:)", bare)
    assert "@import" not in bare
    assert not re.search(r"url\((?!data:)", bare)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    rules = html_text(policy.group(1))
    assert "default-src 'none'" in rules
    assert "unsafe-inline" not in rules.split("script-src")[1].split(";")[0]
    scripts = re.findall(r"<script>(.*?)</script>", html, re.S)
    assert len(scripts) == 9
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in rules


def test_plotly_is_there_once(make_comparison: Make) -> None:
    html = write_page(make_comparison(seeds=1)).read_text(encoding="utf-8")
    assert html.count("plotly.js v") == 1


def test_names_from_records_are_text_everywhere(make_comparison: Make) -> None:
    folder = make_comparison(
        classes=HOSTILE, seeds=1, failed=("simplex-seed0",), error=f"Error: {HOSTILE[1]}"
    )
    for name in ("results.json", "config.json"):
        text = (folder / name).read_text().replace("generated-test-data", "<b>data</b>")
        (folder / name).write_text(text)
    html = write_page(folder).read_text(encoding="utf-8")
    bare = _without_scripts(html)
    assert "<img" not in bare
    assert "<b>data</b>" not in bare
    assert "window.hacked=1</script>" not in html
    assert _script_data(html)["classes"] == list(HOSTILE)


def test_every_figure_has_its_data_its_place_and_its_words(make_comparison: Make) -> None:
    html = write_page(make_comparison(seeds=2)).read_text(encoding="utf-8")
    places = re.findall(r'role="img" aria-label="([^"]+)" data-plot="([^"]+)"', html)
    names = [name for _, name in places]
    assert len(set(names)) == len(names) == 1 + 1 + 2 * 6 + 2 + 1
    assert set(_script_data(html)["figures"]) == set(names)
    assert f'data-plots-expected="{len(names)}"' in html
    assert all(len(words) > 40 for words, _ in places)
    assert html.count('data-table="') == len(names)


def test_ids_are_unique_and_every_reference_has_a_target(make_comparison: Make) -> None:
    html = _without_scripts(write_page(make_comparison()).read_text(encoding="utf-8"))
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for attribute in ("aria-labelledby", "aria-controls", "data-copy", "data-filter"):
        assert set(re.findall(rf'{attribute}="([^"]+)"', html)) <= set(ids)
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)


def test_failed_runs_are_listed_with_their_error(make_comparison: Make) -> None:
    html = write_page(make_comparison(failed=("hadamard-seed1",))).read_text(encoding="utf-8")
    assert "<code>hadamard-seed1</code>" in html
    assert "FloatingPointError: the loss is not finite, step 17" in html
    assert "17 runs finished, 1 failed" in html


def test_no_failure_no_section(make_comparison: Make) -> None:
    assert 'id="failures"' not in write_page(make_comparison(seeds=1)).read_text(encoding="utf-8")


def test_missing_histories_are_said(make_comparison: Make) -> None:
    folder = make_comparison(heads=("simplex",), seeds=1, without_history=("simplex-seed0",))
    html = write_page(folder).read_text(encoding="utf-8")
    assert "No history was found for simplex-seed0." in html
    assert 'data-plot="curves"' not in html


def test_matrices_left_out_are_said(make_comparison: Make) -> None:
    folder = make_comparison(heads=("simplex",), seeds=1, matrices=False)
    html = write_page(folder).read_text(encoding="utf-8")
    assert "Not drawn: matrices are kept up to 500 classes." in html


def test_an_arm_that_never_finished_has_a_panel_that_says_so(make_comparison: Make) -> None:
    folder = make_comparison(seeds=1, failed=("simplex-seed0",))
    html = write_page(folder).read_text(encoding="utf-8")
    assert "No finished run of this head recorded its vectors." in html


def test_a_comparison_in_which_all_failed_still_has_a_page(make_comparison: Make) -> None:
    folder = make_comparison(heads=("simplex",), seeds=1, failed=("simplex-seed0",))
    (folder / "runs" / "simplex-seed0" / "history.jsonl").unlink()
    html = write_page(folder).read_text(encoding="utf-8")
    assert "No run has finished" in html
    assert "plotly.js v" not in html
    assert 'data-plots-expected="0"' in html


@pytest.mark.parametrize("arms", [1, 2, 12])
@pytest.mark.parametrize("classes", [2, 3, 31])
def test_any_number_of_arms_and_classes(make_comparison: Make, arms: int, classes: int) -> None:
    from_all = list(make_comparison.__globals__["ARMS"])[:arms]
    names = tuple(f"class {place}" for place in range(classes))
    folder = make_comparison(heads=tuple(from_all), seeds=1, classes=names, epochs=2)
    data = _script_data(write_page(folder).read_text(encoding="utf-8"))
    assert len(data["arms"]) == arms
    assert len(data["figures"]) == 1 + (arms > 1) + 2 * arms + 2 + 1


def test_two_hundred_classes_stay_under_fifteen_megabytes(make_comparison: Make) -> None:
    heads = tuple(make_comparison.__globals__["ARMS"])
    names = tuple(f"a rather long class name, number {place}" for place in range(200))
    folder = make_comparison(heads=heads, seeds=1, classes=names, images=50, epochs=100)
    assert write_page(folder).stat().st_size < 15_000_000


def test_a_page_that_cannot_be_written_leaves_the_old_one(
    make_comparison: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_comparison(seeds=1)
    old = write_page(folder).read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_page(folder)
    assert (folder / REPORT_PAGE).read_bytes() == old
    assert not list(folder.glob(".*draft"))


def test_without_plotly_the_extra_is_named(
    make_comparison: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_comparison(seeds=1)

    monkeypatch.setattr(page, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=re.escape("fixhead[lab]")):
        write_page(folder)
    assert not (folder / REPORT_PAGE).exists()

"""What the documentation says is run as it stands."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from fixhead.cli import run
from fixhead.heads import PRESETS

DOCS = Path(__file__).parents[1] / "docs"
HEADS = (DOCS / "heads.md").read_text(encoding="utf-8")
LINES = sorted(set(re.findall(r"(?:^|`)(fixhead compare [^`\n]+)", HEADS, re.M)))


def python_blocks():
    for path in sorted(DOCS.glob("*.md")):
        for number, code in enumerate(
            re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.S)
        ):
            yield pytest.param(code, id=f"{path.stem}-{number}")


@pytest.mark.parametrize("code", [*python_blocks()])
def test_python_in_the_docs_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs", "exec"), {})


def test_every_preset_has_a_line_in_the_docs():
    said = " ".join(LINES)
    assert all(re.search(rf"[ ,]{re.escape(preset)}\b", said) for preset in PRESETS)


@pytest.mark.parametrize(
    ("script", "made"),
    [("many_classes", "page"), ("draw_cost", "drawn"), ("gpu", "page"), ("scaling", "page")],
)
def test_what_a_script_wrote_is_what_the_records_give(script, made, monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    module = importlib.import_module(script)
    target = module.PAGE if made == "page" else module.PICTURE
    assert getattr(module, made)() == target.read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore::fixhead.heads.ReachabilityWarning")  # Hoffer's, as released
@pytest.mark.parametrize("line", LINES)
def test_the_line_of_every_head_runs(line, tmp_path, capsys):
    arguments = shlex.split(line)[1:]
    quick = ["--epochs", "1", "--seeds", "1", "--device", "cpu", "--out", str(tmp_path / "out")]
    assert run([*arguments, *quick]) == 0, capsys.readouterr().err

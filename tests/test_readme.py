"""What the README says is run as it stands."""

import re
import runpy
from pathlib import Path

import pytest

import fixhead
from fixhead.cli import run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_in_the_readme_runs():
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, re.S))
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make ([\w-]+)", README, re.M))))
def test_every_make_target_of_the_readme_exists(target):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.M)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^fixhead (\w+)", README, re.M))))
def test_every_command_of_the_readme_answers_for_help(command, capsys):
    assert run([command, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_the_measured_table_is_what_the_records_give():
    module = runpy.run_path(str(ROOT / "docs" / "measured.py"))
    assert module["updated"](README) == README


def test_every_python_name_of_the_readme_is_at_the_door():
    for name in set(re.findall(r"\bfixhead\.(\w+)", " ".join(re.findall(r"`[^`]*`", README)))):
        assert name in fixhead.__all__, name

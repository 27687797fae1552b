"""What the README says is run as it stands."""

import re
from pathlib import Path

import pytest

from fixhead.cli import run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.S))
def test_python_in_the_readme_runs(code):
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make ([\w-]+)", README, re.M))))
def test_every_make_target_of_the_readme_exists(target):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.M)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^fixhead (\w+)", README, re.M))))
def test_every_command_of_the_readme_answers_for_help(command, capsys):
    assert run([command, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out

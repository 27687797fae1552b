"""``fixhead data`` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from fixhead._errors import RequestError
from fixhead.cli.data import data_app


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIXHEAD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pets(tmp_path: Path) -> str:
    for label, name in enumerate(("cat", "dog")):
        for number in range(5):
            path = tmp_path / "pets" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), 10 * label + number).save(path)
    return str(tmp_path / "pets")


def said(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(data_app, list(arguments))
    if isinstance(result.exception, RequestError):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.output


def test_list_names_data_sets_and_what_they_need() -> None:
    assert "cifar-10-python.tar.gz" in said("list")
    rows = json.loads(said("list", "--json"))
    assert {"name", "title", "classes", "image_size", "needs"} == set(rows[0])


def test_check_prints_counts_and_json(pets: str) -> None:
    text = said("check", pets, "--imbalance", "step:0.5")
    assert "train: 8 images of 2 classes, 4 to 4 of each" in text
    assert "step:0.5 would leave 6 training images" in text
    made = json.loads(said("check", pets, "--json"))
    assert made["splits"]["test"] == {
        "images": 2,
        "classes": 2,
        "per_class": {"cat": 1, "dog": 1},
    }
    assert made["duplicates"] == 0


def test_a_wrong_checksum_is_status_one(pets: str) -> None:
    (Path(pets) / "SHA256SUMS").write_text(f"{'0' * 64}  cat/0.png\n")
    assert f"checksum differs: {pets}/cat/0.png" in said("check", pets, status=1)


def test_prepare_says_where_the_images_lie(pets: str, tmp_path: Path) -> None:
    assert str(tmp_path / "cache") in said("prepare", pets)
    assert json.loads(said("prepare", pets, "--json"))["images"] == 10


def test_refusals_reach_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="needs --data-dir"):
        said("check", "mnist")
    with pytest.raises(RequestError, match="--download needs --data-dir"):
        said("prepare", "mnist", "--download")
    with pytest.raises(RequestError, match="got 'nothing'"):
        said("check", "nothing")

"""``fixhead data`` as a person types it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
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


def pixels(file: str | io.BytesIO) -> np.ndarray:
    with Image.open(file) as image:
        return np.array(image)


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


def test_corrupt_writes_the_picture_that_a_test_set_would_hold(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "in.png")
    source, target = str(tmp_path / "in.png"), str(tmp_path / "out.png")
    options = ("--kind", "jpeg", "--severity", "4", "--table", "64")
    assert "jpeg, severity 4 of table 64" in said("corrupt", source, target, *options)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=40)
    np.testing.assert_array_equal(pixels(target), pixels(buffer))
    with pytest.raises(RequestError, match="exists already"):
        said("corrupt", source, target, *options)
    grey = str(tmp_path / "grey.png")
    Image.fromarray(noise[:, :, 0]).save(grey)
    other = str(tmp_path / "other.png")
    made = json.loads(said("corrupt", grey, other, "--kind", "defocus", "--json"))
    assert (made["kind"], made["severity"], made["table"]) == ("defocus-blur", 3, 32)
    assert pixels(other).ndim == 2


@pytest.mark.parametrize(
    ("source", "target", "options", "message"),
    [
        ("in.png", "out.png", ("--kind", "rain"), "corruption needs one of"),
        ("in.png", "out.txt", ("--kind", "jpeg"), "a name like out.png"),
        ("in.png", "no/out.png", ("--kind", "jpeg"), "cannot be written"),
        ("in.png", "out.png", ("--kind", "jpeg", "--severity", "9"), "severity needs"),
        ("none.png", "out.png", ("--kind", "jpeg"), "cannot be read"),
    ],
)
def test_a_picture_that_cannot_be_corrupted_is_refused(
    tmp_path: Path, source: str, target: str, options: tuple[str, ...], message: str
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "in.png")
    with pytest.raises(RequestError, match=message):
        said("corrupt", str(tmp_path / source), str(tmp_path / target), *options)
    assert not (tmp_path / target).exists()


def test_refusals_reach_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="needs --data-dir"):
        said("check", "mnist")
    with pytest.raises(RequestError, match="--download needs --data-dir"):
        said("prepare", "mnist", "--download")
    with pytest.raises(RequestError, match="got 'nothing'"):
        said("check", "nothing")

"""Labels from a CSV file beside a folder of images."""

from __future__ import annotations

from pathlib import Path

import pytest
from making import noise, put_image

from fixhead._errors import RequestError
from fixhead.data import Dataset, load
from fixhead.data.reading import Reading


def put(root: Path, folder: str = ".", number: int = 10) -> Path:
    for image in range(number):
        put_image(root / folder / f"p{image}.png", noise(4, 4, seed=image))
    return root


def lines(*, suffix: str = ".png", folder: str = "") -> list[str]:
    return [f"{folder}p{n}{suffix},{'cat' if n % 2 else 'dog'}" for n in range(10)]


def whole(data: Dataset) -> tuple[tuple[str, ...], int, list[int]]:
    counts = data.train.counts(2) + data.test.counts(2)
    return data.classes, len(data.train), counts.tolist()


@pytest.mark.parametrize("folder", [".", "images", "train"])
@pytest.mark.parametrize("header", ["file_name,label", "Image,Class", "id_code,target"])
@pytest.mark.parametrize("suffix", ["", ".png"])
def test_images_are_found_by_name_with_or_without_suffix(
    tmp_path: Path, folder: str, header: str, suffix: str
) -> None:
    root = put(tmp_path / "d", folder)
    text = "\r\n".join([header, *lines(suffix=suffix)])
    (root / "labels.csv").write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n\r\n")
    data = load(str(root))
    assert whole(data) == (("cat", "dog"), 8, [5, 5])
    assert data.train.images[0].tolist() == noise(4, 4, seed=_first(data))[None].tolist()


def _first(data: Dataset) -> int:
    pixels = data.train.images[0][0]
    return next(n for n in range(10) if (noise(4, 4, seed=n) == pixels).all())


def test_each_image_gets_its_own_label(tmp_path: Path) -> None:
    root = put(tmp_path / "d", "images")
    rows = [f"images/p{n}.png;{n % 2}" for n in reversed(range(10))]
    (root / "labels.csv").write_text("\n".join(["path;label", *rows]))
    data = load(str(root))
    for split in (data.train, data.test):
        for image, label in zip(split.images, split.labels.tolist(), strict=True):
            number = next(n for n in range(10) if (noise(4, 4, seed=n) == image[0]).all())
            assert data.classes[label] == str(number % 2)


def test_a_column_names_the_parts(tmp_path: Path) -> None:
    root = put(tmp_path / "d", "images")
    parts = ["train"] * 6 + ["valid"] * 2 + ["test"] * 2
    rows = [f"{line},{part}" for line, part in zip(lines(), parts, strict=True)]
    (root / "all.csv").write_text("\n".join(["filename,label,split", *rows]))
    data = load(str(root))
    assert (len(data.train), len(data.test)) == (6, 2)
    assert any("valid is not used" in note for note in data.notes)
    assert len(load(str(root), reading=Reading(train_part="valid")).train) == 2


def test_a_file_for_each_part_with_the_same_names_in_both(tmp_path: Path) -> None:
    root = tmp_path / "d"
    for part in ("train", "test"):
        put(root, part)
        (root / f"{part}.csv").write_text("\n".join(["id,label", *lines(suffix="")]))
    data = load(str(root))
    assert (len(data.train), len(data.test)) == (10, 10)


def test_a_test_list_without_labels_is_passed_over(tmp_path: Path) -> None:
    root = tmp_path / "d"
    for part, header in (("train", "id,label"), ("test", "id,fold")):
        put(root, part)
        (root / f"{part}.csv").write_text("\n".join([header, *lines(suffix="")]))
    data = load(str(root))
    assert (len(data.train), len(data.test)) == (8, 2)
    assert any("test, whose labels are all hidden" in note for note in data.notes)


def test_columns_can_be_named(tmp_path: Path) -> None:
    root = put(tmp_path / "d")
    (root / "x.csv").write_text("\n".join(["scan,grade", *lines()]))
    with pytest.raises(RequestError, match="CSV file with a column of file names"):
        load(str(root))
    data = load(str(root), reading=Reading(image_column="scan", label_column="grade"))
    assert data.classes == ("cat", "dog")


def test_class_folders_go_before_a_list_that_is_not_asked_for(tmp_path: Path) -> None:
    root = put(put(tmp_path / "d", "a"), "b")
    rows = [f"{folder}/p{n}.png,{n % 2},{n}" for folder in "ab" for n in range(10)]
    (root / "meta.csv").write_text("\n".join(["file,label,other", *rows]))
    assert load(str(root)).classes == ("a", "b")
    assert load(str(root), reading=Reading(label_column="label")).classes == ("0", "1")


@pytest.mark.parametrize(
    ("row", "message"),
    [("p99.png,cat", "lists 'p99.png' in row 10, and .* has no such image"), ("p3.png", "row 10")],
)
def test_rows_that_fit_no_image_are_named(tmp_path: Path, row: str, message: str) -> None:
    root = put(tmp_path / "d")
    (root / "labels.csv").write_text("\n".join(["file,label", *lines(), row]))
    with pytest.raises(RequestError, match=message):
        load(str(root))


def test_images_that_no_row_names_are_counted(tmp_path: Path) -> None:
    root = put(tmp_path / "d", number=12)
    (root / "labels.csv").write_text("\n".join(["file,label", *lines()]))
    assert any("2 images are in no list" in note for note in load(str(root)).notes)

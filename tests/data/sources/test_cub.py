"""CUB-200-2011's lists."""

from __future__ import annotations

from pathlib import Path

import pytest
from making import noise, put_birds, put_image

from fixhead._errors import RequestError
from fixhead.data import load


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, photographs of different sizes, numbered out of order."""
    names = ["001.Albatross/a.png", "002.Auklet/b.png", "001.Albatross/c.png", "002.Auklet/d.png"]
    put_birds(tmp_path, list(zip(names, [1, 2, 1, 2], [True, False, False, True], strict=True)))
    return tmp_path


def test_the_lists_decide_part_and_class(root: Path) -> None:
    data = load("cub200", data_dir=root)
    assert data.classes == ("001.Albatross", "002.Auklet")
    assert data.train.labels.tolist() == [0, 1]
    assert data.test.labels.tolist() == [1, 0]
    assert data.image_size == 224
    assert load("cub200", data_dir=root, image_size=16).train.images.shape == (2, 3, 16, 16)


def test_a_path_that_leads_out_of_the_folder_is_refused(root: Path) -> None:
    put_image(root / "secret.png", noise(8, 8))
    path = root / "CUB_200_2011" / "images.txt"
    path.write_text(path.read_text().replace("002.Auklet/b.png", "../../secret.png"))
    with pytest.raises(RequestError, match="inside"):
        load("cub200", data_dir=root)


def test_lists_that_disagree_or_lack_are_refused(root: Path) -> None:
    folder = root / "CUB_200_2011"
    (folder / "train_test_split.txt").write_text("1 1\n")
    with pytest.raises(RequestError, match="same image numbers"):
        load("cub200", data_dir=root)
    (folder / "train_test_split.txt").unlink()
    with pytest.raises(RequestError, match=r"train_test_split\.txt, and it is missing"):
        load("cub200", data_dir=root)


def test_a_list_that_is_no_text_is_refused(root: Path) -> None:
    (root / "CUB_200_2011" / "classes.txt").write_bytes(b"1 001.\xff\xfe")
    with pytest.raises(RequestError, match=r"classes\.txt needs to be UTF-8 text"):
        load("cub200", data_dir=root)


def test_a_class_that_is_not_listed_is_refused(root: Path) -> None:
    path = root / "CUB_200_2011" / "image_class_labels.txt"
    path.write_text(path.read_text().replace("4 2", "4 7"))
    with pytest.raises(RequestError, match="got '7'"):
        load("cub200", data_dir=root)

"""Tiny ImageNet in both layouts."""

from __future__ import annotations

from pathlib import Path

import pytest
from making import put_tiny_imagenet

from fixhead._errors import RequestError
from fixhead.data import load


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes, two training and one test image each, in the official tree."""
    tree = put_tiny_imagenet(tmp_path, ["n02", "n01", "n03"])
    (tree / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\tnewt\nn99\tx\n")
    return tmp_path


def test_classes_are_the_sorted_ids_with_their_words(root: Path) -> None:
    data = load("tiny-imagenet", data_dir=root)
    assert data.classes == ("n01: goldfish, Carassius auratus", "n02: newt", "n03")
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.test.labels.tolist() == [1, 0, 2]
    assert data.train.images.shape == (6, 3, 64, 64)
    # the grey test images fill three equal channels
    assert (data.test.images[:, 0] == data.test.images[:, 2]).all()


@pytest.mark.parametrize("line", ["../../secret.JPEG\tn01", "val_0.JPEG\tn77", "val_0.JPEG"])
def test_annotations_that_lead_elsewhere_are_refused(root: Path, line: str) -> None:
    path = root / "tiny-imagenet-200" / "val" / "val_annotations.txt"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(RequestError, match="needs lines of a file name and an id"):
        load("tiny-imagenet", data_dir=root)


def test_missing_files_are_named(root: Path) -> None:
    tree = root / "tiny-imagenet-200"
    (tree / "val" / "images" / "val_1.JPEG").unlink()
    with pytest.raises(RequestError, match=r"val_1\.JPEG, and it is missing"):
        load("tiny-imagenet", data_dir=root)
    (tree / "val" / "val_annotations.txt").unlink()
    with pytest.raises(RequestError, match=r"val_annotations\.txt, and it is missing"):
        load("tiny-imagenet", data_dir=root)


def test_an_empty_folder_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="tiny-imagenet-200 or parquet files"):
        load("tiny-imagenet", data_dir=tmp_path)

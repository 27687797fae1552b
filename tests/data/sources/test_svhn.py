"""SVHN's MATLAB files: axes, and the label 10 that means 0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from making import put_svhn
from scipy.io import savemat

from fixhead._errors import RequestError
from fixhead.data import load


def test_axes_are_moved_and_ten_is_zero(tmp_path: Path) -> None:
    images = put_svhn(tmp_path, "train", [10, 1, 9])
    put_svhn(tmp_path, "test", [2, 10])
    data = load("svhn", data_dir=tmp_path)
    assert data.train.labels.tolist() == [0, 1, 9]
    assert data.test.labels.tolist() == [2, 0]
    np.testing.assert_array_equal(data.train.images[1, 2], images[:, :, 2, 1])


def test_the_extra_part_follows_the_training_part(tmp_path: Path) -> None:
    put_svhn(tmp_path, "train", [1, 2, 3])
    put_svhn(tmp_path, "extra", [4, 5, 6, 7])
    put_svhn(tmp_path, "test", [1, 2])
    assert load("svhn-extra", data_dir=tmp_path).train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert load("svhn", data_dir=tmp_path).train.labels.tolist() == [1, 2, 3]


def test_broken_files_are_refused(tmp_path: Path) -> None:
    put_svhn(tmp_path, "train", [1, 2, 3])
    put_svhn(tmp_path, "test", [1, 2])
    path = tmp_path / "test_32x32.mat"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"no matlab", b""):
        path.write_bytes(content)
        with pytest.raises(RequestError, match=r"test_32x32\.mat is not a whole MATLAB file"):
            load("svhn", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"X": np.zeros((32, 32, 3, 2), dtype=np.uint8)}, "the arrays X and y"),
        ({"X": np.zeros((2, 32, 32, 3), np.uint8), "y": np.array([1, 2])}, "X of uint8"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([0, 2])}, "labels 1 to 10"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([1])}, "got 2 and 1"),
    ],
)
def test_other_contents_are_refused(
    tmp_path: Path, content: dict[str, np.ndarray], message: str
) -> None:
    put_svhn(tmp_path, "train", [1, 2, 3])
    savemat(tmp_path / "test_32x32.mat", content)
    with pytest.raises(RequestError, match=message):
        load("svhn", data_dir=tmp_path)

"""STL-10's binary files, which lie column by column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from making import STL10_NAMES, noise, stl10_files, write_members, write_tar

from fixhead._errors import RequestError
from fixhead.data import load


def files() -> dict[str, bytes]:
    return stl10_files(train=[10, 1, 2, 3], test=[10, 1, 2])


@pytest.mark.parametrize("packed", [False, True])
def test_rows_and_columns_are_the_right_way_round(tmp_path: Path, packed: bool) -> None:
    members = {f"stl10_binary/{name}": content for name, content in files().items()}
    if packed:
        write_tar(tmp_path / "stl10_binary.tar.gz", members, "w:gz")
    else:
        write_members(tmp_path, members)
    data = load("stl10", data_dir=tmp_path)
    stored = noise(4, 3, 96, 96, seed=4)
    np.testing.assert_array_equal(data.train.images[:], stored.swapaxes(2, 3))
    assert data.train.labels.tolist() == [9, 0, 1, 2]
    assert data.classes == tuple(STL10_NAMES.split())


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    made = files()
    made["test_X.bin"] = made["test_X.bin"][:-1]
    write_members(tmp_path / "stl10_binary", made)
    with pytest.raises(RequestError, match=r"test_X\.bin needs whole images"):
        load("stl10", data_dir=tmp_path)


def test_unlabelled_images_are_refused(tmp_path: Path) -> None:
    made = files()
    made["train_y.bin"] = bytes([0, 1, 2, 3])
    write_members(tmp_path / "stl10_binary", made)
    with pytest.raises(RequestError, match="got -1 in its training part"):
        load("stl10", data_dir=tmp_path)

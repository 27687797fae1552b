"""The idx reader on files made byte by byte, as the format says."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from making import idx_bytes

from fixhead._errors import RequestError
from fixhead.data.sources.small_sets import read_idx


@pytest.fixture
def images() -> np.ndarray:
    return np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("zipped", [False, True])
def test_plain_and_gzipped_files_read_alike(
    tmp_path: Path, images: np.ndarray, zipped: bool
) -> None:
    content = idx_bytes(images)
    (tmp_path / "images").write_bytes(gzip.compress(content) if zipped else content)
    np.testing.assert_array_equal(read_idx(tmp_path / "images", ndim=3), images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:-1], "needs 24 bytes"),
        (lambda content: content + b"\0", "needs 24 bytes"),
        (lambda content: content[:9], "cut off within its header"),
        (lambda content: b"PK" + content[2:], "needs to be an idx file"),
        (lambda content: b"", "needs to be an idx file"),
        (lambda content: content[:2] + b"\x0d" + content[3:], "type 13"),
        (lambda content: gzip.compress(content)[:-9], "not a whole gzip file"),
        (lambda content: gzip.compress(content)[:20] + b"\xff" * 30, "not a whole gzip file"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, images: np.ndarray, change, message) -> None:
    path = tmp_path / "images"
    path.write_bytes(change(idx_bytes(images)))
    with pytest.raises(RequestError, match=message) as refused:
        read_idx(path, ndim=3)
    assert str(path) in str(refused.value)


def test_labels_where_images_are_needed_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(idx_bytes(np.arange(5, dtype=np.uint8)))
    with pytest.raises(RequestError, match="3 dimensions, got type 8 in 1"):
        read_idx(tmp_path / "labels", ndim=3)


def test_a_file_that_swells_beyond_the_limit_is_refused(
    tmp_path: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixhead.data.sources.small_sets.IDX_LIMIT_BYTES", 20)
    (tmp_path / "images.gz").write_bytes(gzip.compress(idx_bytes(images)))
    with pytest.raises(RequestError, match="holds more"):
        read_idx(tmp_path / "images.gz", ndim=3)

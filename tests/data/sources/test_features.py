"""Feature arrays in npz files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixhead._errors import RequestError
from fixhead.data import load


def rows(number: int, width: int = 3) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(number, width))


def test_both_parts_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "features.npz"
    np.savez(
        path,
        train_features=rows(6),
        train_labels=np.arange(6) % 2,
        test_features=rows(4),
        test_labels=np.arange(4) % 2,
        classes=np.array(["cat", "dog"]),
    )
    data = load(str(path))
    assert (data.classes, data.channels, data.image_size) == (("cat", "dog"), 3, 1)
    np.testing.assert_allclose(data.train.images[:], rows(6), rtol=1e-6)
    np.testing.assert_allclose(data.mean, rows(6).mean(axis=0), rtol=1e-6)
    assert (len(data.train), len(data.test)) == (6, 4)


def test_one_array_gives_a_fifth_to_the_test_part(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", features=rows(20), labels=np.arange(20) % 2)
    data = load(str(tmp_path / "f.npz"))
    assert data.test.counts(2).tolist() == [2, 2]
    assert data.classes == ("0", "1")
    assert "seed 0" in data.notes[0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": rows(4)}, "needs the arrays features and labels"),
        ({"features": np.full((4, 2), np.nan), "labels": np.arange(4)}, "NaN .* row 0"),
        ({"features": rows(4), "labels": np.eye(4, dtype=int)}, "multi-label"),
        ({"features": rows(4), "labels": np.array([0, 1, -1, 1])}, "-1"),
        ({"features": np.zeros((4, 2, 2)), "labels": np.arange(4)}, r"numbers \(N, d\)"),
        ({"features": np.array([["a"]]), "labels": np.arange(1)}, r"numbers \(N, d\)"),
        ({"features": rows(4), "labels": np.zeros(4, dtype=int)}, "two classes"),
    ],
)
def test_other_contents_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(RequestError, match=message):
        load(str(tmp_path / "f.npz"))


def test_pickled_objects_and_broken_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    np.savez(path, features=np.array([object()]), labels=np.arange(1))
    with pytest.raises(RequestError, match="plain arrays"):
        load(str(path))
    np.savez(path, features=rows(400), labels=np.arange(400) % 2)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RequestError, match="cannot be read"):
        load(str(path))

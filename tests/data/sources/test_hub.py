"""Folders and names of the Hugging Face datasets package (optional)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import noise
from PIL import Image

from fixhead._errors import RequestError
from fixhead.data import load

datasets = pytest.importorskip("datasets", reason="the hf extra is not installed")


def made(number: int, names: list[str] | None = None) -> Any:
    pictures = [Image.fromarray(noise(5, 5, 3, seed=n)) for n in range(number)]
    label = datasets.ClassLabel(names=names or ["cat", "dog"])
    return datasets.Dataset.from_dict(
        {"picture": pictures, "animal": [n % 2 for n in range(number)]},
        features=datasets.Features({"picture": datasets.Image(), "animal": label}),
    )


def test_a_saved_folder_with_both_parts_is_read(tmp_path: Path) -> None:
    saved = datasets.DatasetDict({"train": made(6), "validation": made(4)})
    saved.save_to_disk(str(tmp_path / "pets"))
    data = load(str(tmp_path / "pets"))
    assert (data.classes, len(data.train), len(data.test)) == (("cat", "dog"), 6, 4)
    expected = np.stack([noise(5, 5, 3, seed=n) for n in range(6)]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(data.train.images[:], expected)
    assert data.train.labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_a_saved_folder_of_one_part_gives_a_fifth_to_the_test_part(tmp_path: Path) -> None:
    made(20).save_to_disk(str(tmp_path / "pets"))
    assert load(str(tmp_path / "pets")).test.counts(2).tolist() == [2, 2]


def test_a_set_without_class_labels_is_refused(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a", "b"]}).save_to_disk(str(tmp_path / "text"))
    with pytest.raises(RequestError, match="one of class labels"):
        load(str(tmp_path / "text"))


def test_a_name_that_cannot_be_fetched_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(RequestError, match=r"'hf:owner/pets' cannot be had .*no route to host"):
        load("hf:owner/pets", data_dir=tmp_path)

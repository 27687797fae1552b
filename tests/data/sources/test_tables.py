"""Parquet in the layout of Hugging Face, with and without its metadata."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import encoded, noise

from fixhead._errors import RequestError
from fixhead.data import load
from fixhead.data.sources.tables import TableImages

NAMES = ["cat", "dog", "eel"]


def images(number: int, size: int = 6, seed: int = 0) -> list[np.ndarray]:
    return list(noise(number, size, size, 3, seed=seed))


def cells(pictures: list[np.ndarray]) -> list[dict[str, Any]]:
    return [{"bytes": encoded(p), "path": f"{n}.png"} for n, p in enumerate(pictures)]


def put(
    path: Path,
    pictures: list[Any],
    labels: list[Any],
    *,
    names: list[str] | None = NAMES,
    columns: tuple[str, str] = ("image", "label"),
    rows: int | None = None,
) -> Path:
    table = pa.table({columns[0]: pictures, columns[1]: labels})
    if names is not None:
        features = {
            columns[0]: {"_type": "Image"},
            columns[1]: {"_type": "ClassLabel", "names": names},
        }
        text = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": text})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    for shard in range(2):
        name = f"train-0000{shard}-of-00002.parquet"
        put(folder / name, cells(images(6, seed=shard)), [0, 1, 2, 2, 1, 0], rows=4)
    put(folder / "test-00000-of-00001.parquet", cells(images(3, seed=9)), [2, 1, 0])
    return folder


def test_shards_are_joined_in_order_and_names_come_from_the_schema(root: Path) -> None:
    data = load(str(root))
    assert data.classes == tuple(NAMES)
    assert data.train.labels.tolist() == [0, 1, 2, 2, 1, 0] * 2
    expected = np.stack(images(6, seed=0) + images(6, seed=1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(data.train.images[:], expected)
    assert data.test.labels.tolist() == [2, 1, 0]


def test_one_file_gives_a_fifth_to_the_test_part(tmp_path: Path) -> None:
    path = put(tmp_path / "all.parquet", cells(images(30)), [0, 1, 2] * 10)
    data = load(str(path))
    assert data.test.counts(3).tolist() == [2, 2, 2]
    assert (data.name, data.title) == ("all", "all")


def test_a_test_file_goes_before_a_validation_file(root: Path) -> None:
    put(root / "validation-00000-of-00001.parquet", cells(images(5)), [0] * 5)
    assert len(load(str(root)).test) == 3


def test_plain_bytes_and_words_for_labels_are_read_without_metadata(tmp_path: Path) -> None:
    pictures = images(10)
    put(
        tmp_path / "words.parquet",
        [encoded(p) for p in pictures],
        ["dog", "cat"] * 5,
        names=None,
        columns=("img", "class"),
    )
    data = load(str(tmp_path / "words.parquet"))
    assert data.classes == ("cat", "dog")
    assert (data.train.counts(2) + data.test.counts(2)).tolist() == [5, 5]


def test_only_a_few_row_groups_stay_in_memory(root: Path) -> None:
    path = put(root / "long.parquet", cells(images(40)), [0, 1] * 20, rows=4)
    table = TableImages([path], "image")
    assert [table[n].content for n in range(40)] == [encoded(p) for p in images(40)]
    assert len(table._open) == 4


def test_mixed_sizes_ask_for_an_image_size(root: Path) -> None:
    put(root / "train-00002.parquet", cells(images(2, size=9)), [0, 1])
    with pytest.raises(RequestError, match=r"6x6 .* and 9x9 .*train-00002.*--image-size"):
        load(str(root))
    assert load(str(root), image_size=5).image_size == 5


@pytest.mark.parametrize("label", [3, -1, None])
def test_labels_out_of_range_are_refused_with_their_row(root: Path, label: int | None) -> None:
    put(root / "train-00002.parquet", cells(images(2)), [0, label])
    with pytest.raises(RequestError, match=f"label {label} in row 13 of the train part"):
        load(str(root))


def test_a_file_that_claims_more_rows_than_it_can_hold_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixhead.data.sources.tables.MANY_ROWS", 3)
    monkeypatch.setattr("fixhead.data.sources.tables.ROW_BYTES", 1 << 20)
    with pytest.raises(
        RequestError, match=r"not a whole parquet file \(it says that it has \d+ rows"
    ):
        load(str(root))


@pytest.mark.parametrize(
    "features", ["[]", "7", '{"label": 3}', '{"label": {"names": {"a": "b"}}}']
)
def test_schema_notes_of_another_form_are_passed_over_or_refused(
    tmp_path: Path, features: str
) -> None:
    table = pa.table({"image": cells(images(4)), "label": [0, 1, 0, 1]})
    note = b'{"info": {"features": ' + features.encode() + b"}}"
    pq.write_table(
        table.replace_schema_metadata({b"huggingface": note}), tmp_path / "train.parquet"
    )
    if "names" in features:
        with pytest.raises(RequestError, match="not a whole parquet file"):
            load(str(tmp_path / "train.parquet"))
    else:
        assert load(str(tmp_path / "train.parquet")).classes == ("0", "1")


def test_class_names_that_repeat_in_the_schema_are_refused(tmp_path: Path) -> None:
    for part in ("train", "test"):
        put(tmp_path / f"{part}-0.parquet", cells(images(2)), [0, 1], names=["cat", "cat"])
    with pytest.raises(RequestError, match="class names that differ, got 'cat' twice"):
        load(str(tmp_path))


def test_a_class_of_the_schema_without_images_is_kept_and_counted_as_none(tmp_path: Path) -> None:
    for part in ("train", "test"):
        put(tmp_path / f"{part}-0.parquet", cells(images(2)), [0, 2], names=["cat", "dog", "eel"])
    data = load(str(tmp_path))
    assert data.classes == ("cat", "dog", "eel")
    assert data.train.counts(3).tolist() == [1, 0, 1]


def test_one_word_for_all_labels_is_too_few_classes(tmp_path: Path) -> None:
    put(tmp_path / "train-0.parquet", cells(images(2)), ["eel", "eel"], names=None)
    with pytest.raises(RequestError, match="at least two classes"):
        load(str(tmp_path))


DAYS = [datetime.date(2020, 1, 31), datetime.date(2020, 2, 1)]


@pytest.mark.parametrize(
    ("labels", "names", "classes"),
    [
        ([True, False], ["cat", "dog"], ("cat", "dog")),
        ([1.0, 0.0], ["cat", "dog"], ("cat", "dog")),
        ([True, False], None, ("False", "True")),
        ([1.0, 0.0], None, ("0", "1")),
        ([b"dog", b"cat"], None, ("cat", "dog")),
        (DAYS[::-1], None, ("2020-01-31", "2020-02-01")),
    ],
)
def test_labels_of_other_types_name_classes_too(
    tmp_path: Path, labels: list[object], names: list[str] | None, classes: tuple[str, ...]
) -> None:
    put(tmp_path / "train-0.parquet", cells(images(10)), labels * 5, names=names)
    data = load(str(tmp_path))
    assert data.classes == classes
    assert data.train.labels.tolist() == [1, 0] * 4


@pytest.mark.parametrize(
    ("label", "message"),
    [(0.5, "label 0.5 in row 0 .* is a float, which names no class"), (None, "is missing")],
)
def test_labels_that_name_no_class_are_refused_by_type(
    tmp_path: Path, label: object, message: str
) -> None:
    put(tmp_path / "train-0.parquet", cells(images(2)), [label, 1.0], names=None)
    with pytest.raises(RequestError, match=message):
        load(str(tmp_path))


def test_a_huge_label_without_class_names_does_not_take_the_memory(tmp_path: Path) -> None:
    put(tmp_path / "train-0.parquet", cells(images(2)), [0, 1 << 55], names=None)
    with pytest.raises(RequestError, match=f"labels need to be below .* got {1 << 55}"):
        load(str(tmp_path))


def test_multi_label_targets_are_refused_by_name(tmp_path: Path) -> None:
    put(tmp_path / "train.parquet", cells(images(2)), [[0, 1], [2]], names=None)
    with pytest.raises(RequestError, match="multi-label targets are not supported"):
        load(str(tmp_path / "train.parquet"))


def test_a_truncated_image_is_named_with_its_row(root: Path) -> None:
    bad = cells(images(2))
    bad[1]["bytes"] = bad[1]["bytes"][:60]
    put(root / "train-00002.parquet", bad, [0, 1])
    with pytest.raises(RequestError, match=r"1\.png \(row 1 of train-00002\.parquet\)"):
        load(str(root))


def test_paths_without_bytes_are_refused(root: Path) -> None:
    put(root / "train-00002.parquet", [{"bytes": None, "path": "/etc/passwd"}], [0])
    with pytest.raises(RequestError, match="needs its bytes inside the table"):
        load(str(root))


def test_a_cut_off_table_is_refused(root: Path) -> None:
    path = root / "test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RequestError, match="not a whole parquet file"):
        load(str(root))


def test_a_table_without_images_or_training_part_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "label": [0]}), tmp_path / "train.parquet")
    with pytest.raises(RequestError, match="needs a column of images"):
        load(str(tmp_path / "train.parquet"))
    put(tmp_path / "t" / "test-0.parquet", cells(images(2)), [0, 1])
    with pytest.raises(RequestError, match="needs a part for training, got only test"):
        load(str(tmp_path / "t"))


def test_the_jpeg_copy_of_cifar_is_titled_as_a_copy(tmp_path: Path) -> None:
    folder = tmp_path / "cifar10_jpeg"
    names = [f"class {number}" for number in range(10)]
    for part in ("train", "test"):
        put(folder / f"{part}-0.parquet", cells(images(10, 32)), list(range(10)), names=names)
    for place in (tmp_path, folder):
        data = load("cifar10-jpeg", data_dir=place)
        assert (data.name, data.title) == ("cifar10-jpeg", "CIFAR-10 (JPEG copy)")
        assert "lossy" in data.notes[0]


def test_a_named_set_refuses_images_of_another_size(tmp_path: Path) -> None:
    for part in ("train", "test"):
        put(tmp_path / f"{part}-0.parquet", cells(images(3, 30)), [0, 1, 2])
    with pytest.raises(RequestError, match="needs 32x32 pixels, got 30x30"):
        load("cifar10-jpeg", data_dir=tmp_path)

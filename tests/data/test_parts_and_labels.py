"""Which folders and files are parts, and which labels are classes: one rule for every reader."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import encoded, noise, put_image, write_tar

from fixhead._errors import RequestError
from fixhead.data import Dataset, load
from fixhead.data.reading import Reading, natural_key
from fixhead.data.sources.labels import part_of

LABELS = list[int] | list[str]


def put_folder(root: Path, classes: tuple[str, ...], number: int = 4) -> Path:
    for place, name in enumerate(classes):
        for image in range(number):
            put_image(root / name / f"{image}.png", noise(4, 4, 3, seed=10 * place + image))
    return root


def put_table(folder: Path, **parts: LABELS) -> Path:
    folder.mkdir()
    for part, labels in parts.items():
        pictures = [
            {"bytes": encoded(noise(4, 4, 3, seed=n)), "path": f"{n}.png"}
            for n in range(len(labels))
        ]
        pq.write_table(pa.table({"image": pictures, "label": labels}), folder / f"{part}-0.parquet")
    return folder


def put_shards(folder: Path, **parts: LABELS) -> Path:
    for part, labels in parts.items():
        members = {}
        for number, label in enumerate(labels):
            members[f"{number}.png"] = encoded(noise(4, 4, 3, seed=number))
            members[f"{number}.cls"] = str(label).encode()
        write_tar(folder / f"{part}-0.tar", members)
    return folder


def put_features(folder: Path, **parts: LABELS) -> Path:
    folder.mkdir()
    arrays: dict[str, np.ndarray] = {}
    for part, labels in parts.items():
        arrays[f"{part}_features"] = noise(len(labels), 3).astype(np.float32)
        arrays[f"{part}_labels"] = np.asarray(labels)
    np.savez(folder / "x.npz", **arrays)
    return folder / "x.npz"


READERS: list[Callable[..., Path]] = [put_table, put_shards, put_features]
every_reader = pytest.mark.parametrize("put", READERS, ids=lambda put: put.__name__)


def read(path: Path, **reading: str) -> Dataset:
    size = 4 if path.is_dir() and list(path.glob("*.tar")) else None
    return load(str(path), image_size=size, reading=Reading(**reading))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        *(("train", "test"), ("Training", "Testing"), ("training_set", "test_set")),
        *(("seg_train", "seg_test"), ("train", "VAL"), ("train", "eval"), ("TRAIN", "Validation")),
        *(("asl-train", "asl-test"), ("TrainImages", "TestImages"), ("trn", "tst")),
    ],
)
def test_parts_are_known_whatever_their_case_and_prefix(
    tmp_path: Path, train: str, test: str
) -> None:
    for part in (train, test):
        put_folder(tmp_path / "d" / part, ("x", "y"))
    data = load(str(tmp_path / "d"))
    assert (data.classes, len(data.train), len(data.test)) == (("x", "y"), 8, 8)


@every_reader
@pytest.mark.parametrize(
    ("train", "test"), [("Training", "Testing"), ("seg_train", "seg_test"), ("TRAIN", "VAL")]
)
def test_parts_of_files_are_known_so_too(
    tmp_path: Path, put: Callable[..., Path], train: str, test: str
) -> None:
    data = read(put(tmp_path / "d", **{train: ["x", "y"] * 4, test: ["y", "x"]}))
    assert (data.classes, len(data.train), len(data.test)) == (("x", "y"), 8, 2)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *(("seg_train", "train"), ("DevSet", "validation"), ("test2017", "test")),
        *(("cat", None), ("contest", None), ("trainer", None), ("train_test", None)),
    ],
)
def test_a_name_means_one_part_or_none(name: str, part: str | None) -> None:
    assert part_of(name) == part


def test_a_vehicle_called_train_is_a_class(tmp_path: Path) -> None:
    assert load(str(put_folder(tmp_path / "d", ("bus", "train")))).classes == ("bus", "train")


def test_two_parts_for_testing_are_no_two_classes(tmp_path: Path) -> None:
    for part in ("val", "test"):
        put_folder(tmp_path / "d" / part, ("x", "y"))
    with pytest.raises(RequestError, match="needs a part for training, got only test and val"):
        load(str(tmp_path / "d"))
    data = read(tmp_path / "d", train_part="val")
    assert (data.classes, len(data.test)) == (("x", "y"), 8)


def test_folders_that_all_hold_the_same_folders_have_two_readings(tmp_path: Path) -> None:
    for part in ("left", "right"):
        put_folder(tmp_path / "d" / part, ("x", "y"))
    with pytest.raises(RequestError, match=r"part left --test-part right; .* --train-part \."):
        load(str(tmp_path / "d"))
    assert read(tmp_path / "d", train_part=".").classes == ("left", "right")
    assert read(tmp_path / "d", train_part="left", test_part="right").classes == ("x", "y")


def test_two_folders_for_one_part_ask_which(tmp_path: Path) -> None:
    for part in ("train", "training_set", "test"):
        put_folder(tmp_path / "d" / part, ("x", "y"))
    with pytest.raises(RequestError, match=r"train and training_set; say which with --train-part"):
        load(str(tmp_path / "d"))
    assert "training_set" in read(tmp_path / "d", train_part="train").notes[0]


def test_a_part_that_is_not_there_is_refused(tmp_path: Path) -> None:
    put_folder(tmp_path / "d" / "train", ("x", "y"))
    with pytest.raises(RequestError, match=r"--test-part holdout is not in .*, which has train"):
        read(tmp_path / "d", test_part="holdout")


@every_reader
def test_a_test_part_with_hidden_labels_gives_way_to_a_validation_part(
    tmp_path: Path, put: Callable[..., Path]
) -> None:
    path = put(tmp_path / "d", train=[0, 1] * 4, validation=[1, 0], test=[-1] * 3)
    data = read(path)
    assert len(data.test) == 2
    assert any("test, whose labels are all hidden" in note for note in data.notes)
    assert any("validation serves as the test set" in note for note in data.notes)
    with pytest.raises(RequestError, match="hidden labels"):
        read(path, test_part="test")


def test_a_flat_test_folder_has_no_labels(tmp_path: Path) -> None:
    put_folder(tmp_path / "d" / "train", ("x", "y"), 10)
    put_image(tmp_path / "d" / "test" / "0.png", noise(4, 4))
    data = load(str(tmp_path / "d"))
    assert len(data.test) == 4
    assert any("hidden" in note for note in data.notes)


@every_reader
def test_labels_from_one_up_make_no_class_without_images(
    tmp_path: Path, put: Callable[..., Path]
) -> None:
    data = read(put(tmp_path / "d", train=[1, 2, 3] * 2, test=[3, 1]))
    assert data.classes == ("1", "2", "3")
    assert data.train.counts(3).tolist() == [2, 2, 2]
    assert any("labels are 1 to 3: classes are numbered 0 to 2 here" in n for n in data.notes)
    assert any("test part has no images of 1 of the 3 classes (2)" in n for n in data.notes)


@every_reader
def test_labels_with_gaps_make_no_class_without_images(
    tmp_path: Path, put: Callable[..., Path]
) -> None:
    data = read(put(tmp_path / "d", train=[0, 5, 9] * 2, test=[0, 5, 9]))
    assert data.classes == ("0", "5", "9")
    assert any("with gaps" in note for note in data.notes)


@every_reader
@pytest.mark.parametrize(
    ("train", "test", "strange"), [([0, 1], [0, 2], "2"), (["cat", "dog"], ["cat", "dgo"], "'dgo'")]
)
def test_a_label_that_training_lacks_is_refused(
    tmp_path: Path, put: Callable[..., Path], train: LABELS, test: LABELS, strange: str
) -> None:
    with pytest.raises(RequestError, match=f"classes that the training part has .*, got {strange}"):
        read(put(tmp_path / "d", train=train * 3, test=test))


@every_reader
def test_words_are_classes_in_the_order_of_the_alphabet(
    tmp_path: Path, put: Callable[..., Path]
) -> None:
    data = read(put(tmp_path / "d", train=["b", "a"] * 3, test=["a", "b"]))
    assert (data.classes, data.train.labels[:2].tolist()) == (("a", "b"), [1, 0])
    assert data.sorted_classes


def test_names_of_columns_can_be_given(tmp_path: Path) -> None:
    pictures = [encoded(noise(4, 4, seed=n)) for n in range(10)]
    table = pa.table(
        {"scan": pictures, "image": ["x"] * 10, "grade": ["a", "b"] * 5, "label": [1.5] * 10}
    )
    pq.write_table(table, tmp_path / "all.parquet")
    data = read(tmp_path / "all.parquet", image_column="scan", label_column="grade")
    assert (data.classes, data.channels) == (("a", "b"), 1)
    with pytest.raises(RequestError, match=r"--label-column grades is not in .* scan, image"):
        read(tmp_path / "all.parquet", image_column="scan", label_column="grades")


NUMBERS = tuple(map(str, range(12)))


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("sorted", tuple(sorted(NUMBERS))),
        ("natural", NUMBERS),
        ("FILE", NUMBERS[::-1]),
    ],
)
def test_classes_come_in_the_order_that_is_asked_for(
    tmp_path: Path, order: str, expected: tuple[str, ...]
) -> None:
    root = put_folder(tmp_path / "d", NUMBERS, 5)
    if order == "FILE":
        order = str(tmp_path / "order.txt")
        Path(order).write_bytes("\ufeff".encode() + "\r\n".join(expected).encode() + b"\r\n\r\n")
    plain, data = load(str(root)), read(root, class_order=order)
    assert data.classes == expected
    assert plain.sorted_classes
    assert not data.sorted_classes
    for number in range(4):
        name = data.classes[data.train.labels[number]]
        assert name == plain.classes[plain.train.labels[number]]


def test_the_natural_order_is_timms() -> None:
    names = ["b2", "B10", "a", "10", "9", "a1b"]
    assert sorted(names, key=natural_key) == ["9", "10", "a", "a1b", "b2", "B10"]


@every_reader
def test_words_can_come_in_the_natural_order_too(tmp_path: Path, put: Callable[..., Path]) -> None:
    path = put(tmp_path / "d", train=["b10", "b9", "b2"] * 2, test=["b2", "b9", "b10"])
    plain, data = read(path), read(path, class_order="natural")
    assert plain.classes == ("b10", "b2", "b9")
    assert data.classes == ("b2", "b9", "b10")
    assert data.test.labels.tolist() == [0, 1, 2]
    assert not data.sorted_classes


@every_reader
def test_a_map_places_words_of_any_reader(tmp_path: Path, put: Callable[..., Path]) -> None:
    path = put(tmp_path / "d", train=["n2", "n1"] * 3, test=["n1", "n2"])
    (tmp_path / "map.json").write_text(json.dumps({"0": "eel", "1": ["n2", "dog"], "2": "n1"}))
    data = read(path, class_map=str(tmp_path / "map.json"))
    assert data.classes[:2] == ("eel", "dog")
    assert data.test.labels.tolist() == [2, 1]
    assert data.train.counts(3).tolist() == [0, 3, 3]


def test_an_order_of_other_classes_is_refused(tmp_path: Path) -> None:
    root = put_folder(tmp_path / "d", ("a", "b"))
    (tmp_path / "order.txt").write_text("a\nc\n")
    with pytest.raises(RequestError, match=r"needs the 2 classes of the data, .*differs in b, c"):
        read(root, class_order=str(tmp_path / "order.txt"))
    with pytest.raises(RequestError, match="--class-order must be sorted, natural or a file"):
        read(root, class_order="wobbly")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.json", json.dumps({"0": "eel", "1": ["n2", "dog"], "2": ["n1", "cat"]})),
        ("m.json", json.dumps({"n1": 2, "n2": 1, "n0": 0})),
        ("m.json", json.dumps(["n0", "n2", "n1"])),
        ("m.csv", "0,n0,eel\n1,n2,dog\n2,n1,cat\n"),
        ("m.txt", "n0 0\n".replace(" ", ",") + "n2,1\nn1,2\n"),
        ("m.txt", "\ufeffn0\nn2\nn1\n\n"),
    ],
)
def test_a_map_places_classes_among_those_of_a_larger_model(
    tmp_path: Path, name: str, content: str
) -> None:
    root = put_folder(tmp_path / "d", ("n1", "n2"))
    (tmp_path / name).write_text(content, encoding="utf-8")
    data = read(root, class_map=str(tmp_path / name))
    assert len(data.classes) == 3
    assert data.train.counts(3).tolist() == [0, 3, 3]
    assert any("2 of the 3 classes" in note for note in data.notes)


def test_a_map_of_names_renames_the_classes(tmp_path: Path) -> None:
    root = put_folder(tmp_path / "d", ("n01440764", "n01443537"))
    (tmp_path / "words.txt").write_text("n01440764 tench, Tinca\nn01443537 goldfish\n")
    data = read(root, class_map=str(tmp_path / "words.txt"))
    assert data.classes == ("tench, Tinca", "goldfish")
    (tmp_path / "words.txt").write_text("n01440764 tench\n")
    with pytest.raises(RequestError, match="lacks n01443537"):
        read(root, class_map=str(tmp_path / "words.txt"))


def test_a_map_whose_numbers_leave_gaps_is_refused(tmp_path: Path) -> None:
    root = put_folder(tmp_path / "d", ("a", "b"))
    (tmp_path / "m.json").write_text('{"a": 0, "b": 2}')
    with pytest.raises(RequestError, match="needs the indices 0 to 1, each once, got 0 to 2"):
        read(root, class_map=str(tmp_path / "m.json"))


def test_names_that_are_no_utf_8_are_read(tmp_path: Path) -> None:
    root = put_folder(tmp_path / "d", ("a", "b"))
    try:
        (root / "a" / "0.png").rename(root / "a" / os.fsdecode(b"gar\xe7on.png"))
        (root / "b").rename(root / os.fsdecode(b"caf\xe9"))
    except OSError:
        pytest.skip("this file system knows UTF-8 only")
    data = load(str(root))
    assert data.classes == ("a", "caf\u00e9")
    assert len(data.train) + len(data.test) == 8


@pytest.mark.parametrize("name", ["__pycache__", ".ipynb_checkpoints", "@eaDir", "__MACOSX"])
def test_what_systems_leave_behind_is_no_class(tmp_path: Path, name: str) -> None:
    root = put_folder(tmp_path / "d", ("a", "b"))
    put_image(root / name / "0.png", noise(4, 4))
    put_image(root / "a" / "._0.png", noise(4, 4))
    data = load(str(root))
    assert data.classes == ("a", "b")
    assert len(data.train) + len(data.test) == 8


def test_what_macs_leave_in_archives_is_no_image(tmp_path: Path) -> None:
    members = {"._0.png": b"no image", "__MACOSX/._1.png": b"no image"}
    for number in range(6):
        members[f"{number}.png"] = encoded(noise(4, 4, seed=number))
        members[f"{number}.cls"] = f"{number % 2:03d}".encode()
    write_tar(tmp_path / "d" / "train-0.tar", members)
    (tmp_path / "d" / "._train-0.tar").write_bytes(b"no archive")
    data = read(tmp_path / "d")
    assert (len(data.train) + len(data.test), data.classes) == (6, ("0", "1"))


def test_keys_of_shards_may_have_dots(tmp_path: Path) -> None:
    members = {}
    for number in range(6):
        members[f"v1.{number}.png"] = encoded(noise(4, 4, seed=number))
        members[f"v1.{number}.cls"] = b"cat" if number % 2 else b"dog\n"
    write_tar(tmp_path / "d" / "train-0.tar", members)
    data = read(tmp_path / "d")
    assert (len(data.train) + len(data.test), data.classes) == (6, ("cat", "dog"))


@pytest.mark.parametrize("name", ["images.tar", "metadata.parquet", "train.tar"])
def test_an_archive_beside_class_folders_is_passed_over_and_said(tmp_path: Path, name: str) -> None:
    root = put_folder(tmp_path / "d", ("a", "b"))
    (root / name).write_bytes(b"x")
    data = load(str(root))
    assert data.classes == ("a", "b")
    assert any(name in note for note in data.notes)


@pytest.mark.parametrize(
    ("name", "reader"), [("1.HEIC", "pillow-heif"), ("1.dng", "rawpy"), ("1.dcm", "pydicom")]
)
def test_pictures_that_are_not_read_name_what_reads_them(
    tmp_path: Path, name: str, reader: str
) -> None:
    root = put_folder(tmp_path / "d", ("a", "b"))
    (root / "c").mkdir()
    (root / "c" / name).write_bytes(b"x")
    with pytest.raises(RequestError, match=f"convert them to JPEG or PNG .{reader} reads them"):
        load(str(root))

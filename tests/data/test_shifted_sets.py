"""Generalisation sets: other pictures of the same classes, matched by name."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from making import noise, put_image, stl10_files, write_members

from fixhead._errors import RequestError
from fixhead.data import Dataset, Split, load
from fixhead.data.encoded import Streamed
from fixhead.data.shifted_sets import CIFAR10, load_shifted_set, match_classes


def like(classes: tuple[str, ...] = CIFAR10, channels: int = 3, size: int = 32) -> Dataset:
    pixels = np.zeros((len(classes), channels, size, size), dtype=np.uint8)
    split = Split(pixels, np.arange(len(classes)))
    return Dataset("made", "Made", classes, split, split)


@pytest.mark.parametrize("version", ["v4", "v6"])
@pytest.mark.parametrize("inside", ["", "CIFAR-10.1"])
def test_cifar10_1_is_read_and_relabelled_by_name(
    tmp_path: Path, version: str, inside: str
) -> None:
    folder = tmp_path / inside
    folder.mkdir(exist_ok=True)
    pixels = noise(20, 32, 32, 3)
    np.save(folder / f"cifar10.1_{version}_data.npy", pixels)
    np.save(folder / f"cifar10.1_{version}_labels.npy", np.arange(20) % 10)
    extra = load_shifted_set(f"cifar10.1-{version}", like(CIFAR10[::-1]), data_dir=tmp_path)
    assert extra.title == f"CIFAR-10.1 ({version})"
    assert extra.split.labels.tolist() == [9 - n % 10 for n in range(20)]
    np.testing.assert_array_equal(extra.split.images[3], pixels[3].transpose(2, 0, 1))


def test_cifar10_1_in_other_shapes_or_places_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"cifar10\.1_v6_data\.npy"):
        load_shifted_set("cifar10.1-v6", like(), data_dir=tmp_path)
    np.save(tmp_path / "cifar10.1_v6_labels.npy", np.zeros(2, dtype=int))
    for pixels in (noise(2, 3, 32, 32), np.zeros((2, 32, 32, 3))):
        np.save(tmp_path / "cifar10.1_v6_data.npy", pixels)
        with pytest.raises(RequestError, match="uint8"):
            load_shifted_set("cifar10.1-v6", like(), data_dir=tmp_path)
    np.save(tmp_path / "cifar10.1_v6_data.npy", noise(3, 32, 32, 3))
    with pytest.raises(RequestError, match="same number"):
        load_shifted_set("cifar10.1-v6", like(), data_dir=tmp_path)


def test_a_folder_is_taken_whole_and_brought_to_the_size_of_the_training_images(
    tmp_path: Path,
) -> None:
    for name in ("Dog", "cat"):
        for number in range(3):
            put_image(tmp_path / "web" / name / f"{number}.png", noise(20 + number, 30, 3))
    (tmp_path / "web" / "cat" / "notes.txt").write_text("x")
    extra = load_shifted_set(str(tmp_path / "web"), like(("cat", "dog", "eel"), 1, 16))
    assert extra.split.images.shape == (6, 1, 16, 16)
    assert sorted(extra.split.labels.tolist()) == [0, 0, 0, 1, 1, 1]
    assert "notes.txt" in extra.notes[0]


CIFAR100 = "aquarium_fish lawn_mower maple_tree pickup_truck streetcar train woman".split()
"""Some of its classes: names of two words, and one that is the name of a part elsewhere."""


def cifar100(folder: Path) -> Path:
    """CIFAR-100's folder of pickles, an image of each of those classes."""
    place = folder / "cifar-100-python"
    place.mkdir()
    labels = list(range(len(CIFAR100)))
    part = {"data": noise(len(labels), 3072), "fine_labels": labels}
    meta = {"fine_label_names": [name.encode() for name in CIFAR100]}
    for name, content in (("train", part), ("test", part), ("meta", meta)):
        (place / name).write_bytes(pickle.dumps(content, protocol=2))
    return folder


def stl10(folder: Path) -> Path:
    write_members(folder / "stl10_binary", stl10_files([10, 1, 2, 3], [10, 1, 2]))
    return folder


@pytest.mark.parametrize(
    ("name", "write", "folders", "classes"),
    [
        ("cifar100", cifar100, ["Aquarium fish", "lawn-mower", "Maple_Tree", "train", "woman"],
         ["aquarium_fish", "lawn_mower", "maple_tree", "train", "woman"]),
        ("stl10", stl10, ["Airplane", "monkey", "truck"], ["airplane", "monkey", "truck"]),
    ],
)  # fmt: skip
def test_a_persons_own_pictures_test_a_named_set(
    tmp_path: Path, name: str, write: Callable[[Path], Path], folders: list[str], classes: list[str]
) -> None:
    data = load(name, data_dir=write(tmp_path))
    for at, folder in enumerate(folders):
        for number in range(1 + at):
            put_image(tmp_path / "web" / folder / f"{number}.jpg", noise(120, 90 + number, 3))
    extra = load_shifted_set(str(tmp_path / "web"), data)
    assert extra.split.images.shape[1:] == data.test.images.shape[1:]
    found = [data.classes[label] for label in extra.split.labels]
    assert sorted(found) == [one for at, one in enumerate(classes) for _ in range(1 + at)]


def test_of_a_folder_with_two_parts_only_the_test_part_is_taken(tmp_path: Path) -> None:
    for part, number in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            for image in range(number):
                put_image(tmp_path / "s" / part / name / f"{image}.png", noise(8, 8, 3))
    assert len(load_shifted_set(str(tmp_path / "s"), like(("cat", "dog"), 3, 8)).split) == 4


def test_a_large_folder_is_read_as_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cat", "dog"):
        put_image(tmp_path / "s" / name / "0.png", noise(8, 8, 3))
    monkeypatch.setattr("fixhead.data.shifted_sets.MEMORY_BYTES", 10)
    split = load_shifted_set(str(tmp_path / "s"), like(("cat", "dog"), 3, 8)).split
    assert isinstance(split.images, Streamed)
    assert split.images[:].shape == (2, 3, 8, 8)


def test_the_test_part_of_a_named_set_can_be_used(tmp_path: Path) -> None:
    extra = load_shifted_set("digits", like(tuple("0123456789"), 1, 8))
    assert len(extra.split) == 359
    with pytest.raises(RequestError, match=r"needs images of \(3, 32, 32\)"):
        load_shifted_set("digits", like())


def test_other_classes_are_refused_by_name(tmp_path: Path) -> None:
    put_image(tmp_path / "s" / "cat" / "0.png", noise(8, 8, 3))
    put_image(tmp_path / "s" / "yak" / "0.png", noise(8, 8, 3))
    with pytest.raises(RequestError, match="got yak"):
        load_shifted_set(str(tmp_path / "s"), like(("cat", "dog"), 3, 8))
    with pytest.raises(RequestError, match=r"--also needs one of cifar10\.1-v4"):
        load_shifted_set("nothing", like())


def test_names_are_matched_regardless_of_case_and_spelling_of_spaces() -> None:
    known = ("n01: goldfish, Carassius", "Ankle boot", "n02")
    assert match_classes(("ankle_boot", "n01", "n02: newt"), known, "x").tolist() == [1, 0, 2]
    with pytest.raises(RequestError, match="two classes that are one"):
        match_classes(("Ankle-Boot", "ankle boot"), known, "x")

"""Counting, comparing and preparing data sets."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from making import idx_bytes, noise, put_image

from fixhead._errors import RequestError
from fixhead._torchvision import import_torchvision
from fixhead.data import DATASETS
from fixhead.data.catalogue import FETCH, download
from fixhead.data.checks import MD5, check, list_datasets, prepare, verify
from fixhead.data.sources.small_sets import IDX_FILES


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes; one test image is a training image, another is one under another label."""
    for label, name in enumerate(("cat", "dog")):
        for number in range(4):
            pixels = noise(4, 4, 3, seed=10 * label + number)
            put_image(tmp_path / "pets" / "train" / name / f"{number}.png", pixels)
    put_image(tmp_path / "pets" / "test" / "cat" / "0.png", noise(4, 4, 3, seed=2))
    put_image(tmp_path / "pets" / "test" / "cat" / "1.png", noise(4, 4, 3, seed=13))
    put_image(tmp_path / "pets" / "test" / "dog" / "0.png", noise(4, 4, 3, seed=99))
    return tmp_path / "pets"


def test_a_check_counts_and_finds_test_images_among_training_images(root: Path) -> None:
    found = check(str(root))
    assert found.splits["train"].per_class == {"cat": 4, "dog": 4}
    assert (found.splits["test"].images, found.splits["test"].classes) == (3, 2)
    assert (found.duplicates, found.disagreeing) == (2, 1)
    assert found.passed
    assert found.imbalance is None


def test_a_check_as_json_has_the_promised_names(root: Path) -> None:
    made = check(str(root)).as_dict()
    assert made["name"] == "pets"
    assert made["splits"]["train"] == {
        "images": 8,
        "classes": 2,
        "per_class": {"cat": 4, "dog": 4},
    }
    assert made["duplicates"] == 2


def test_a_check_shows_what_a_long_tail_would_leave(root: Path) -> None:
    found = check(str(root), imbalance="step:0.5")
    assert found.imbalance == {
        "rule": "step:0.5",
        "images": 6,
        "per_class": {"cat": 4, "dog": 2},
    }
    with pytest.raises(RequestError, match="imbalance"):
        check(str(root), imbalance="steep")


def test_preparing_says_where_the_cache_is_and_the_second_time_is_no_decoding(
    root: Path, own_cache: Path
) -> None:
    first = prepare(str(root))
    assert first.images == 11
    assert Path(first.folder or "").parent == own_cache
    assert first.bytes > 11 * 48
    decoded = {path: path.stat().st_mtime_ns for path in own_cache.rglob("*.npy")}
    assert prepare(str(root)).folder == first.folder
    assert {path: path.stat().st_mtime_ns for path in own_cache.rglob("*.npy")} == decoded


def test_digits_need_no_cache() -> None:
    prepared = prepare("digits")
    assert (prepared.images, prepared.folder, prepared.bytes) == (1797, None, 0)


def test_the_list_names_every_data_set() -> None:
    assert [row.name for row in list_datasets()] == list(DATASETS)


def test_published_checksums_are_of_the_file_or_of_what_is_packed_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = idx_bytes(noise(2, 28, 28))
    name = IDX_FILES["train"][0]
    plain, packed = tmp_path / name, tmp_path / f"{name}.gz"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    monkeypatch.setitem(MD5["mnist"], name, (hashlib.md5(content).hexdigest(),))
    assert verify("mnist", [plain, packed]) == {str(plain): "ok", str(packed): "ok"}
    plain.write_bytes(content[:-1] + b"x")
    assert verify("mnist", [plain]) == {str(plain): "differs"}
    assert verify("digits", [plain]) == {}


def test_sums_that_lie_beside_the_files_are_verified(root: Path) -> None:
    file = root / "train" / "cat" / "0.png"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (root / "SHA256SUMS").write_text(f"{digest}  train/cat/0.png\n{'0' * 64} *test/dog/0.png\n")
    found = check(str(root))
    wrong = root / "test" / "dog" / "0.png"
    assert found.checksums == {str(file): "ok", str(wrong): "differs"}
    assert not found.passed


def test_every_checksum_belongs_to_a_data_set_and_is_one() -> None:
    assert set(MD5) <= set(DATASETS)
    sums = [digest for files in MD5.values() for known in files.values() for digest in known]
    assert all(len(digest) == 32 and int(digest, 16) >= 0 for digest in sums)


def test_checksums_are_those_that_torchvision_states() -> None:
    import_torchvision()
    from torchvision import datasets as official

    for name, kind in (("mnist", official.MNIST), ("fashion-mnist", official.FashionMNIST)):
        stated = {file.removesuffix(".gz"): digest for file, digest in kind.resources}
        assert {file: known[0] for file, known in MD5[name].items()} == stated
    for name, kind in (("cifar10", official.CIFAR10), ("cifar100", official.CIFAR100)):
        stated = dict([*kind.train_list, *kind.test_list])
        stated |= {kind.meta["filename"]: kind.meta["md5"], kind.filename: kind.tgz_md5}
        assert {file: known[0] for file, known in MD5[name].items()} == stated
    stated = dict([*official.STL10.train_list[:2], *official.STL10.test_list])
    stated |= {official.STL10.filename: official.STL10.tgz_md5}
    assert {file: known[0] for file, known in MD5["stl10"].items()} == stated
    stated = {file: digest for _, file, digest in official.SVHN.split_list.values()}
    assert {file: known[0] for file, known in MD5["svhn"].items()} == stated


def test_downloads_go_through_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_torchvision()
    from torchvision import datasets as official

    asked = []

    def fetch(root: str, split: str, download: bool) -> None:
        asked.append((root, split, download))

    monkeypatch.setattr(official, "SVHN", fetch)
    download("svhn-extra", tmp_path / "new")
    assert asked == [(str(tmp_path / "new"), part, True) for part in ("train", "extra", "test")]


@pytest.mark.parametrize("error", [URLError("no host"), RuntimeError("Error downloading x")])
def test_without_a_network_a_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    import_torchvision()
    from torchvision import datasets as official

    def fail(root: str, download: bool) -> None:
        raise error

    monkeypatch.setattr(official, "CIFAR10", fail)
    with pytest.raises(RequestError, match=r"put cifar-10-python\.tar\.gz or .* by hand"):
        download("cifar10", tmp_path)


def test_what_cannot_be_downloaded_is_refused(tmp_path: Path) -> None:
    assert set(FETCH) <= set(DATASETS)
    with pytest.raises(RequestError, match=r"get tiny-imagenet-200 .* from its publisher"):
        download("tiny-imagenet", tmp_path)
    with pytest.raises(RequestError, match="got 'mnits'"):
        download("mnits", tmp_path)


def test_labels_of_duplicates_are_looked_up_in_all_copies(root: Path) -> None:
    # the same picture twice in training, once under each label: neither label disagrees
    pixels = noise(4, 4, 3, seed=2)
    put_image(root / "train" / "dog" / "copy.png", pixels)
    put_image(root / "test" / "dog" / "copy.png", pixels)
    found = check(str(root))
    assert (found.duplicates, found.disagreeing) == (3, 1)
    assert np.array_equal(found.splits["train"].per_class["dog"], 5)

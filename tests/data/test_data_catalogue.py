"""Loading by name."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from making import idx_bytes
from sklearn.datasets import load_digits

from fixhead._errors import RequestError
from fixhead.data import DATASETS, load
from fixhead.data.sources.small_sets import IDX_FILES


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """MNIST in miniature: 20 training and 10 test images of 28 × 28."""
    generator = np.random.default_rng(0)
    for part, number in (("train", 20), ("test", 10)):
        images, labels = IDX_FILES[part]
        pixels = generator.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        (tmp_path / images).write_bytes(idx_bytes(pixels))
        (tmp_path / labels).write_bytes(idx_bytes(np.arange(number, dtype=np.uint8) % 10))
    return tmp_path


def test_digits_are_the_1797_of_scikit_learn() -> None:
    data = load("digits")
    assert (len(data.train), len(data.test)) == (1438, 359)
    assert (data.channels, data.image_size, data.classes) == (1, 8, tuple("0123456789"))
    everything = np.concatenate([data.train.images[:], data.test.images[:]])
    labels = np.concatenate([data.train.labels, data.test.labels])
    reference = load_digits()
    key = np.lexsort(everything.reshape(1797, -1).T)
    expected = np.rint(reference.images * 255 / 16).astype(np.uint8).reshape(1797, -1)
    other = np.lexsort(expected.T)
    np.testing.assert_array_equal(everything.reshape(1797, -1)[key], expected[other])
    np.testing.assert_array_equal(labels[key], reference.target[other])
    assert everything.max() == 255


def test_digits_have_the_same_test_part_every_time() -> None:
    first, second = load("digits"), load("digits")
    np.testing.assert_array_equal(first.test.images[:], second.test.images[:])


@pytest.mark.parametrize("inside", ["", "MNIST/raw"])
@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_is_found_where_people_keep_it(mnist: Path, inside: str, zipped: bool) -> None:
    folder = mnist / "copy" / inside
    folder.mkdir(parents=True)
    for name in (*IDX_FILES["train"], *IDX_FILES["test"]):
        content = (mnist / name).read_bytes()
        (folder / (f"{name}.gz" if zipped else name)).write_bytes(
            gzip.compress(content) if zipped else content
        )
    data = load("mnist", data_dir=mnist / "copy", cache_dir=mnist / "cache")
    assert data.train.images.shape == (20, 1, 28, 28)
    assert data.test.labels.tolist() == list(range(10))
    assert data.title == "MNIST"


def test_mnist_images_and_labels_of_different_numbers_are_refused(mnist: Path) -> None:
    (mnist / IDX_FILES["test"][1]).write_bytes(idx_bytes(np.zeros(9, dtype=np.uint8)))
    with pytest.raises(RequestError, match="same number of images and labels, got 10 and 9"):
        load("mnist", data_dir=mnist, cache_dir=mnist / "cache")


def test_mnist_labels_out_of_range_are_refused(mnist: Path) -> None:
    labels = np.arange(10, dtype=np.uint8) + 1
    (mnist / IDX_FILES["test"][1]).write_bytes(idx_bytes(labels))
    with pytest.raises(RequestError, match="labels from 0 to 9"):
        load("mnist", data_dir=mnist, cache_dir=mnist / "cache")


def test_mnist_without_its_files_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"needs --data-dir"):
        load("mnist")
    with pytest.raises(RequestError, match=r"train-images-idx3-ubyte\.gz in .* MNIST/raw"):
        load("mnist", data_dir=tmp_path)


def test_an_unknown_name_is_refused_with_the_list() -> None:
    with pytest.raises(RequestError) as refused:
        load("cifra10")
    assert "'cifra10'" in str(refused.value)
    assert all(name in str(refused.value) for name in DATASETS)


def test_the_size_of_a_named_data_set_cannot_be_chosen() -> None:
    with pytest.raises(RequestError, match="comes as arrays of 8x8"):
        load("digits", image_size=16)

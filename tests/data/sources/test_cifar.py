"""CIFAR's pickles: read as published, and nothing inside them is ever run."""

from __future__ import annotations

import gzip
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import noise, python2_pickle, write_members, write_tar

from fixhead._errors import RequestError
from fixhead.data import load
from fixhead.data.sources.published import read_pickle

NAMES10 = [b"airplane", b"automobile", b"bird", b"cat", b"deer"]
NAMES10 += [b"dog", b"frog", b"horse", b"ship", b"truck"]


def cifar10(dump: Any = python2_pickle) -> dict[str, bytes]:
    members = {"batches.meta": dump({b"label_names": NAMES10, b"num_vis": 3072})}
    for number, name in enumerate([f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]):
        batch = {b"data": noise(4, 3072, seed=number), b"labels": [number, 1, 2, 9]}
        members[name] = dump({b"batch_label": b"made", **batch, b"filenames": [b"x.png"] * 4})
    return members


def cifar100() -> dict[str, bytes]:
    fine = [f"class {number}".encode() for number in range(100)]
    members = {"meta": python2_pickle({b"fine_label_names": fine, b"coarse_label_names": []})}
    for number, name in enumerate(["train", "test"]):
        batch = {b"data": noise(3, 3072, seed=number), b"fine_labels": [99, 0, number]}
        members[name] = python2_pickle({**batch, b"coarse_labels": [0, 1, 2]})
    return members


def under(folder: str, members: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in members.items()}


@pytest.mark.parametrize("packed", [False, True])
def test_cifar10_is_read_from_its_folder_and_from_its_archive(tmp_path: Path, packed: bool) -> None:
    members = under("cifar-10-batches-py", cifar10())
    if packed:
        write_tar(tmp_path / "cifar-10-python.tar.gz", members, "w:gz")
    else:
        write_members(tmp_path, members)
    data = load("cifar10", data_dir=tmp_path)
    assert data.classes == tuple(name.decode() for name in NAMES10)
    assert data.train.images.shape == (20, 3, 32, 32)
    assert data.train.labels.tolist() == [n for k in range(5) for n in (k, 1, 2, 9)]
    # the first row of the first batch: a plane of red, then green, then blue
    np.testing.assert_array_equal(data.train.images[0].reshape(-1), noise(4, 3072, seed=0)[0])
    np.testing.assert_array_equal(data.test.images[3].reshape(-1), noise(4, 3072, seed=5)[3])


def test_cifar100_has_the_fine_classes(tmp_path: Path) -> None:
    write_members(tmp_path, under("cifar-100-python", cifar100()))
    data = load("cifar100", data_dir=tmp_path)
    assert (len(data.classes), data.classes[7]) == (100, "class 7")
    assert data.train.labels.tolist() == [99, 0, 0]
    assert data.test.labels.tolist() == [99, 0, 1]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_pickles_of_python_3_are_read_too(protocol: int) -> None:
    rows = noise(3, 5)
    content = pickle.dumps({"data": rows, "labels": [1, 2, 3]}, protocol=protocol)
    read = read_pickle(content, "batch")
    np.testing.assert_array_equal(read["data"], rows)
    assert read["labels"] == [1, 2, 3]


def test_arrays_in_column_order_keep_their_values() -> None:
    rows = np.asfortranarray(noise(3, 5))
    read = read_pickle(pickle.dumps({"data": rows}, protocol=2), "batch")
    np.testing.assert_array_equal(read["data"], rows)


class Attack:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_in_a_malicious_pickle_is_run(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "mark"
    content = pickle.dumps({"data": Attack(mark)}, protocol=protocol)
    with pytest.raises(RequestError, match=r"asks for \w+\.system; .* nothing was run"):
        read_pickle(content, "data_batch_1")
    assert not mark.exists()
    pickle.loads(content)  # what it would have done
    assert mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.",  # a dotted name
        b"\x80\x02\x82\x01.",  # an extension code
        b"Pabc\n.",  # a persistent reference
    ],
)
def test_every_other_name_in_a_pickle_is_refused(content: bytes) -> None:
    with pytest.raises(RequestError):
        read_pickle(content, "batch")


def test_what_a_pickle_does_to_its_stand_ins_does_not_outlive_it() -> None:
    # BUILD on the stand-in for numpy.ndarray itself: it tries to set attributes on the class.
    spoil = b"\x80\x02cnumpy\nndarray\nN}U\x05arrayK\x01s\x86b."
    with pytest.raises(RequestError):
        read_pickle(spoil, "batch")
    rows = noise(2, 2)
    np.testing.assert_array_equal(
        read_pickle(pickle.dumps({"data": rows}, protocol=2), "batch")["data"], rows
    )


@pytest.mark.parametrize(
    "value",
    [
        np.array([1.5]),
        np.array([object()]),
        np.array([1, 2]),
        np.zeros(2, dtype=[("a", "u1")]),
    ],
)
def test_arrays_of_other_types_are_refused(value: np.ndarray) -> None:
    with pytest.raises(RequestError):
        read_pickle(pickle.dumps({"data": value}, protocol=2), "batch")


def test_a_few_bytes_cannot_take_the_memory() -> None:
    content = b"\x80\x02}r\xff\xff\xff\x7f."  # {}, remembered under the number 2³¹ − 1
    assert read_pickle(content, "batch") == {}
    with pytest.raises(RequestError, match="not a whole pickle"):
        read_pickle(b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".", "batch")


def test_a_cut_off_pickle_or_another_object_is_refused() -> None:
    content = python2_pickle({b"data": noise(2, 3072), b"labels": [0, 1]})
    for end in (0, 1, 10, 100, len(content) - 1):
        with pytest.raises(RequestError, match="not a whole pickle"):
            read_pickle(content[:end], "batch")
    with pytest.raises(RequestError, match="needs a pickled dict, got list"):
        read_pickle(python2_pickle([1]), "batch")


def test_a_cut_off_archive_is_refused(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "cifar-10-python.tar.gz", under("cifar-10-batches-py", cifar10()), "w:gz"
    )
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(RequestError, match="not a whole tar archive"):
        load("cifar10", data_dir=tmp_path)


def test_names_that_lead_out_of_an_archive_lead_nowhere(tmp_path: Path) -> None:
    members = under("cifar-10-batches-py", cifar10())
    members = {"../escaped": b"x", "/tmp/escaped-fixhead": b"x", **members}
    write_tar(tmp_path / "data" / "cifar-10-python.tar.gz", members, "w:gz")
    before = {path for path in tmp_path.rglob("*") if "fixhead-cache" not in str(path)}
    load("cifar10", data_dir=tmp_path / "data")
    after = {path for path in tmp_path.rglob("*") if "fixhead-cache" not in str(path)}
    assert after == before
    assert not Path("/tmp/escaped-fixhead").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_link_or_a_device_in_place_of_a_batch_is_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        link.type, link.linkname = kind, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(RequestError, match="data_batch_1 to be a plain file"):
        load("cifar10", data_dir=tmp_path)


def test_a_member_that_says_it_is_huge_is_refused_unread(tmp_path: Path) -> None:
    header = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
    header.size = 1 << 40
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(gzip.compress(header.tobuf() + bytes(1024)))
    with pytest.raises(RequestError, match="a plain file of at most 1 GiB"):
        load("cifar10", data_dir=tmp_path)


def test_missing_batches_are_named(tmp_path: Path) -> None:
    members = cifar10()
    del members["data_batch_3"]
    write_members(tmp_path, under("cifar-10-batches-py", members))
    with pytest.raises(RequestError, match="data_batch_3"):
        load("cifar10", data_dir=tmp_path)
    write_tar(tmp_path / "b" / "cifar-10-python.tar.gz", under("cifar-10-batches-py", members))
    with pytest.raises(RequestError, match="data_batch_3"):
        load("cifar10", data_dir=tmp_path / "b")


def test_rows_of_another_length_are_refused(tmp_path: Path) -> None:
    members = cifar10()
    members["test_batch"] = python2_pickle({b"data": noise(4, 100), b"labels": [0] * 4})
    write_members(tmp_path, under("cifar-10-batches-py", members))
    with pytest.raises(RequestError, match="rows of 3072"):
        load("cifar10", data_dir=tmp_path)


def test_a_folder_without_cifar_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"cifar-10-batches-py or cifar-10-python\.tar\.gz"):
        load("cifar10", data_dir=tmp_path)

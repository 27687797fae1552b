"""WebDataset shards: indexed once, read in any order, never unpacked."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from making import encoded, noise, write_tar

from fixhead._errors import RequestError
from fixhead.data import Batches, load
from fixhead.data.encoded import Streamed


def sample(number: int, label: int) -> dict[str, bytes]:
    key = f"{number:05d}"
    return {
        f"{key}.png": encoded(noise(8, 8, 3, seed=number)),
        f"{key}.cls": str(label).encode(),
    }


def shard(path: Path, first: int, labels: list[int]) -> Path:
    members: dict[str, bytes] = {}
    for number, label in enumerate(labels):
        members |= sample(first + number, label)
    return write_tar(path, members)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    shard(folder / "train-000000.tar", 0, [0, 1, 2])
    shard(folder / "train-000001.tar", 3, [2, 1])
    shard(folder / "val-000000.tar", 90, [1, 0])
    return folder


def expected(*numbers: int) -> np.ndarray:
    return np.stack([noise(8, 8, 3, seed=number) for number in numbers]).transpose(0, 3, 1, 2)


def test_shards_are_streamed_in_any_order(root: Path, own_cache: Path) -> None:
    data = load(str(root), image_size=8)
    assert isinstance(data.train.images, Streamed)
    assert data.train.labels.tolist() == [0, 1, 2, 2, 1]
    assert data.test.labels.tolist() == [1, 0]
    np.testing.assert_array_equal(data.train.images[[4, 0, 3]], expected(4, 0, 3))
    np.testing.assert_array_equal(data.train.images[2], expected(2)[0])
    np.testing.assert_array_equal(data.train.images[-2:], expected(3, 4))
    assert any("streamed" in note for note in data.notes)
    assert not own_cache.exists()


def test_streamed_and_cached_shards_give_the_same_batches(root: Path) -> None:
    streamed, cached = load(str(root), image_size=8), load(str(root), image_size=8, stream=False)
    assert isinstance(cached.train.images, np.memmap)
    assert streamed.mean == cached.mean
    for first, second in zip(*(batches(data) for data in (streamed, cached)), strict=True):
        assert torch.equal(first, second)


def batches(data) -> list[torch.Tensor]:
    made = Batches(data.train, 2, device="cpu", mean=data.mean, std=data.std, seed=0, shuffle=True)
    return [images for images, _ in made.epoch(0)]


def test_classes_have_the_names_in_classes_txt(root: Path) -> None:
    assert load(str(root), image_size=8).classes == ("0", "1", "2")
    # As Windows writes it: a byte-order mark, and blank lines at its end.
    (root / "classes.txt").write_bytes(b"\xef\xbb\xbfcat\r\ndog\r\neel\r\n\r\n")
    assert load(str(root), image_size=8).classes == ("cat", "dog", "eel")
    (root / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(RequestError, match="one of the 2 classes that the data names"):
        load(str(root), image_size=8)


def test_labels_in_json_are_read(tmp_path: Path) -> None:
    members = {}
    for number in range(6):
        members[f"a.b/{number}.seg.png"] = b"another suffix"
        members[f"a.b/{number}.png"] = encoded(noise(8, 8, 3))
        members[f"a.b/{number}.json"] = f'{{"label": {number % 2}}}'.encode()
    write_tar(tmp_path / "s" / "train-0.tar", members)
    data = load(str(tmp_path / "s"), image_size=8)
    assert (len(data.train), len(data.test)) == (4, 2)


def test_shards_need_an_image_size(root: Path) -> None:
    with pytest.raises(RequestError, match="--image-size"):
        load(str(root))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"1.png": encoded(noise(8, 8))}, r"needs a label /1\.cls"),
        (
            {"1.png": encoded(noise(8, 8)), "1.cls": b"cat"},
            "all words or all .* 'cat'",
        ),
        (
            {"1.png": encoded(noise(8, 8)), "1.cls": b"1.5"},
            "all words or all .* '1.5'",
        ),
        (
            {"1.png": encoded(noise(8, 8)), "1.json": b'{"cls": true}'},
            "a word, got True",
        ),
        ({"1.png": encoded(noise(8, 8)), "1.cls": b"9" * 15}, "labels need to be below"),
        ({"1.png": encoded(noise(8, 8)), "1.cls": b"9" * 30}, "needs a label of a class"),
        ({"1.png": encoded(noise(8, 8)), "1.json": b"[" * 100_000}, "needs a whole number"),
        ({"1.png": encoded(noise(8, 8)), "1.json": b'{"label": [0, 1]}'}, "multi-label"),
        ({"1.png": encoded(noise(8, 8)), "1.json": b'{"text": "x"}'}, "needs a whole number"),
    ],
)
def test_samples_without_one_label_are_refused(
    root: Path, members: dict[str, bytes], message: str
) -> None:
    write_tar(root / "train-000002.tar", members)
    with pytest.raises(RequestError, match=message):
        load(str(root), image_size=8)


def test_cut_off_or_compressed_shards_are_refused(root: Path) -> None:
    path = root / "train-000001.tar"
    whole = path.read_bytes()
    for end in (300, 700, len(sample(3, 2)["00003.png"]) + 300):
        path.write_bytes(whole[:end])
        with pytest.raises(RequestError, match=r"train-000001\.tar"):
            load(str(root), image_size=8)
    write_tar(path, sample(3, 2), "w:gz")
    with pytest.raises(RequestError, match="uncompressed"):
        load(str(root), image_size=8)


def test_links_inside_a_shard_are_not_followed(root: Path) -> None:
    with tarfile.open(root / "train-000002.tar", "w") as archive:
        link = tarfile.TarInfo("9.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        for name, content in sample(7, 1).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert len(load(str(root), image_size=8).train) == 6

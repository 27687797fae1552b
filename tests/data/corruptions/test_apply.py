"""Corrupting batches and splits: the same pixels for every arm, whatever the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from making import noise, put_image

from fixhead._errors import RequestError
from fixhead.data import Batches, Dataset, Split
from fixhead.data.corruptions import (
    KINDS,
    PAPER,
    TABLES,
    corrupt,
    corrupted,
    kind_named,
    strength,
    table_for,
)
from fixhead.data.shifted_sets import load_published

WITHOUT_FROST = [kind for kind in KINDS if kind != "frost"]


def batch(number: int = 4, channels: int = 3, size: int = 16) -> torch.Tensor:
    return torch.from_numpy(noise(number, channels, size, size))


@pytest.mark.parametrize("kind", WITHOUT_FROST)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_is_corrupted_alike_in_every_batch(kind: str, channels: int) -> None:
    images = batch(4, channels)
    before = images.clone()
    whole = corrupt(images, kind, 5, indices=torch.arange(4))
    part = corrupt(images[[3, 1]], kind, 5, indices=torch.tensor([3, 1]))
    assert torch.equal(part, whole[[3, 1]])
    assert whole.shape == images.shape
    assert whole.dtype == torch.uint8
    assert not torch.equal(whole, images)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    "kind", ["gaussian-noise", "shot-noise", "impulse-noise", "glass-blur", "fog", "elastic"]
)
def test_another_seed_or_place_is_another_corruption(kind: str) -> None:
    images = batch(1).repeat(2, 1, 1, 1)
    first = corrupt(images, kind, 5, indices=torch.arange(2))
    other = corrupt(images, kind, 5, indices=torch.arange(2), seed=1)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("kind", [k for k in WITHOUT_FROST if k != "elastic"])
@pytest.mark.parametrize("table", TABLES)
def test_a_higher_severity_moves_the_image_further(kind: str, table: int) -> None:
    # smooth pictures: on noise a blur has nothing left to do after its first step
    images = torch.nn.functional.interpolate(batch(6, size=6).float(), 40, mode="bicubic")
    images = images.clamp(0, 255).to(torch.uint8)
    moved = [
        float(
            (corrupt(images, kind, s, indices=torch.arange(6), table=table).int() - images.int())
            .double()
            .square()
            .mean()
        )
        for s in (1, 5)
    ]
    assert moved[1] > moved[0] > 0


def test_the_table_follows_the_image_size_unless_it_is_given() -> None:
    assert [table_for(size) for size in (8, 28, 32, 45, 46, 64, 96, 120, 224, 384)] == [
        *(32, 32, 32, 32, 64, 64, 64, 224, 224, 224)
    ]
    images, indices = batch(2, size=32), torch.arange(2)
    assert torch.equal(
        corrupt(images, "jpeg", 1, indices=indices),
        corrupt(images, "jpeg", 1, indices=indices, table=32),
    )
    assert not torch.equal(
        corrupt(images, "jpeg", 1, indices=indices),
        corrupt(images, "jpeg", 1, indices=indices, table=224),
    )


def test_every_kind_has_five_strengths_in_each_table() -> None:
    for kind in KINDS:
        for table in TABLES:
            widths = {len(strength(kind, s, table)) for s in range(1, 6)}
            assert len(widths) == 1 or kind == "zoom-blur"
    assert set(PAPER) <= set(KINDS)
    # the three tables of hendrycks/robustness
    assert [strength("impulse-noise", s, 64)[0] for s in range(1, 6)] == [
        *(0.01, 0.02, 0.05, 0.08, 0.14)
    ]
    assert [strength("jpeg", s, 224)[0] for s in range(1, 6)] == [25, 18, 15, 10, 7]
    assert strength("defocus-blur", 4, 64) == (2.5, 0.01)


def test_people_and_published_files_have_other_names_for_the_kinds() -> None:
    assert kind_named("jpeg_compression") == "jpeg"
    assert kind_named("Salt-and-Pepper") == "impulse-noise"
    assert kind_named("elastic_transform") == "elastic"
    with pytest.raises(RequestError, match=r"one of gaussian-noise.* got 'rain'"):
        kind_named("rain")


def test_impossible_requests_are_refused() -> None:
    images, indices = batch(), torch.arange(4)
    with pytest.raises(RequestError, match="severity needs"):
        corrupt(images, "jpeg", 6, indices=indices)
    with pytest.raises(RequestError, match="table needs"):
        corrupt(images, "jpeg", 1, indices=indices, table=100)
    with pytest.raises(RequestError, match="uint8 images"):
        corrupt(images.float(), "jpeg", 1, indices=indices)
    split = Split(images.numpy(), np.arange(4))
    with pytest.raises(RequestError, match="severity needs"):
        corrupted(split, "jpeg", 0)


def test_a_corrupted_split_gives_every_arm_the_same_pixels() -> None:
    split = corrupted(Split(noise(20, 3, 16, 16), np.arange(20) % 2), "gaussian-noise", 3)

    def read(batch_size: int) -> torch.Tensor:
        made = Batches(
            split, batch_size, device="cpu", mean=[0] * 3, std=[1] * 3, seed=0, shuffle=False
        )
        return torch.cat([images for images, _ in made.epoch(0)])

    assert torch.equal(read(3), read(20))
    np.testing.assert_array_equal(np.asarray(split.images), split.images[:])
    np.testing.assert_array_equal(split.images[7], split.images[[7]][0])
    taken = split.take([5, 2])
    np.testing.assert_array_equal(taken.images[:], split.images[[5, 2]])


def like(classes: tuple[str, ...] = ("cat", "dog"), size: int = 8) -> Dataset:
    pixels = np.zeros((2, 3, size, size), dtype=np.uint8)
    return Dataset(
        "made",
        "Made",
        classes,
        Split(pixels, np.array([0, 1])),
        Split(pixels, np.array([0, 1])),
    )


def test_published_arrays_are_cut_by_severity(tmp_path: Path) -> None:
    pixels = noise(5 * 4, 8, 8, 3)
    np.save(tmp_path / "jpeg_compression.npy", pixels)
    np.save(tmp_path / "labels.npy", np.tile(np.array([0, 1, 1, 0], dtype=np.uint8), 5))
    split = load_published(tmp_path, "jpeg", 3, like())
    np.testing.assert_array_equal(split.images[:], pixels[8:12].transpose(0, 3, 1, 2))
    assert split.labels.tolist() == [0, 1, 1, 0]


def test_published_trees_are_matched_by_class_names(tmp_path: Path) -> None:
    for name, seed in (("n02", 1), ("n01", 2)):
        put_image(tmp_path / "fog" / "2" / name / "x.png", noise(8, 8, 3, seed=seed))
    split = load_published(tmp_path, "fog", 2, like(("n02: dog", "n01: cat")))
    assert split.labels.tolist() == [1, 0]
    np.testing.assert_array_equal(split.images[1], noise(8, 8, 3, seed=1).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (noise(19, 8, 8, 3), np.zeros(19, dtype=int), "5 severities"),
        (noise(20, 8, 8, 3), np.zeros(19, dtype=int), "same number"),
        (noise(20, 9, 9, 3), np.zeros(20, dtype=int), r"\(3, 8, 8\) .* got \(3, 9, 9\)"),
        (noise(20, 8, 8, 3), np.full(20, 2), "labels from 0 to 1"),
        (noise(20, 8, 8, 3).astype(float), np.zeros(20, dtype=int), "uint8"),
    ],
)
def test_published_files_that_do_not_fit_are_refused(
    tmp_path: Path, pixels: np.ndarray, labels: np.ndarray, message: str
) -> None:
    np.save(tmp_path / "snow.npy", pixels)
    np.save(tmp_path / "labels.npy", labels)
    with pytest.raises(RequestError, match=message):
        load_published(tmp_path, "snow", 1, like())


def test_the_corrupted_copy_of_another_set_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "snow.npy", noise(20, 8, 8, 3))
    np.save(tmp_path / "labels.npy", np.tile(np.array([0, 1, 1, 0]), 5))
    with pytest.raises(RequestError, match=r"has none of 'eel'; is it the corrupted copy"):
        load_published(tmp_path, "snow", 1, like(("cat", "dog", "eel")))


def test_missing_or_broken_published_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"motion_blur\.npy with labels\.npy"):
        load_published(tmp_path, "motion-blur", 1, like())
    np.save(tmp_path / "labels.npy", np.zeros(20, dtype=int))
    (tmp_path / "snow.npy").write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(RequestError, match="not a whole npy file"):
        load_published(tmp_path, "snow", 1, like())
    np.save(tmp_path / "snow.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(RequestError, match="not a whole npy file"):
        load_published(tmp_path, "snow", 1, like())

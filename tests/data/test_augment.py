"""Crops and flips on whole batches against a plain loop over images."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import pad

from fixhead._errors import RequestError
from fixhead.data.augment import Chain, HorizontalFlip, RandomCrop, augmentation, crop


def images(number: int = 6, channels: int = 3, height: int = 5, width: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(number)
    return torch.randint(
        1, 256, (number, channels, height, width), generator=generator, dtype=torch.uint8
    )


@settings(deadline=None, max_examples=30)
@given(
    number=st.integers(1, 5),
    channels=st.integers(1, 3),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    padding=st.integers(1, 3),
)
def test_crop_agrees_with_slicing_one_image_at_a_time(
    number: int, channels: int, height: int, width: int, padding: int
) -> None:
    batch = images(number, channels, height, width)
    shifts = torch.randint(2 * padding + 1, (2, number))
    padded = pad(batch, (padding,) * 4)
    expected = torch.stack(
        [
            padded[n, :, dy : dy + height, dx : dx + width]
            for n, (dy, dx) in enumerate(shifts.T.tolist())
        ]
    )
    assert torch.equal(crop(batch, shifts, padding), expected)


def test_random_crop_reaches_every_shift_and_leaves_its_input_alone() -> None:
    batch = torch.arange(1, 10, dtype=torch.uint8).view(1, 1, 3, 3).repeat(400, 1, 1, 1)
    before = batch.clone()
    out = RandomCrop(1)(batch, torch.Generator().manual_seed(0))
    assert len(torch.unique(out.view(400, -1), dim=0)) == 9
    assert torch.equal(batch, before)


def test_flip_mirrors_about_half_of_the_images_and_no_other_axis() -> None:
    batch = images(1).repeat(1000, 1, 1, 1)
    out = HorizontalFlip()(batch, torch.Generator().manual_seed(0))
    mirrored = (out == batch.flip(-1)).all(dim=3).all(dim=2).all(dim=1)
    kept = (out == batch).all(dim=3).all(dim=2).all(dim=1)
    assert bool((mirrored ^ kept).all())
    assert 420 < int(mirrored.sum()) < 580


def test_one_seed_gives_one_augmentation() -> None:
    chain = augmentation("crop:2,flip")
    assert chain is not None
    first, again, other = (
        chain(images(20), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_words_and_augmentations_name_each_other() -> None:
    chain = augmentation("crop:4,flip")
    assert chain == Chain((RandomCrop(4), HorizontalFlip(0.5)))
    assert str(chain) == "crop:4,flip"
    assert str(augmentation("flip:0.25")) == "flip:0.25"
    assert augmentation("none") is None
    full = "rrc:0.25,flip,jitter:0.4:0.4:0.4,randaugment:2:9,trivial,cutout:8,cutmix:0.5"
    assert str(augmentation(full)) == full
    assert str(augmentation("rrc,randaugment,cutout,mixup")) == (
        "rrc,randaugment:2:9,cutout:16,mixup:1"
    )


@pytest.mark.parametrize(
    "words",
    [
        *("spin", "crop:x", "crop:0", "flip:2", "flip,,crop", "trivial:3", "crop:1:2"),
        *("cutout,crop", "mixup,cutmix", "mixup,flip", "mixup:0", "mixup:nan", "jitter:-1"),
    ],
)
def test_unknown_or_impossible_steps_are_refused(words: str) -> None:
    with pytest.raises(RequestError, match="augmentation"):
        augmentation(words)

"""Images that look almost alike on both sides of a cut are counted; different ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from fixhead.data import Split
from fixhead.data.near_duplicates import near_duplicates


def scenes(number: int, seed: int, *, channels: int = 3, size: int = 32) -> np.ndarray:
    """Smooth random pictures, as photographs are."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 256, (number, channels, 4, 4)).astype(float)
    return np.kron(coarse, np.ones((1, 1, size // 4, size // 4))).astype(np.uint8)


def split(images: np.ndarray) -> Split:
    return Split(images, np.zeros(len(images), dtype=np.int64))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 64])
def test_frames_of_one_scene_are_found_and_other_scenes_are_not(channels: int, size: int) -> None:
    first = scenes(300, 0, channels=channels, size=size)
    second = scenes(40, 1, channels=channels, size=size)
    noise = np.random.default_rng(2).integers(-6, 7, first[:10].shape)
    frames = np.clip(first[:10].astype(int) + noise, 0, 255).astype(np.uint8)
    brighter = np.clip(first[10:15].astype(int) * 0.8 + 20, 0, 255).astype(np.uint8)
    other = split(np.concatenate([second, frames, brighter]))
    assert near_duplicates(split(first), other) == (15, 55)


def test_blank_pictures_are_not_alike() -> None:
    blank = np.full((20, 3, 32, 32), 200, dtype=np.uint8)
    assert near_duplicates(split(blank), split(blank)) == (0, 20)


def test_small_pictures_and_features_are_not_judged() -> None:
    small = scenes(5, 0, size=8)
    assert near_duplicates(split(small), split(small)) == (0, 0)
    rows = Split(np.ones((3, 4), dtype=np.float32), np.zeros(3, dtype=np.int64))
    assert near_duplicates(rows, rows) == (0, 0)

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from fixhead.evaluation.examples import COLUMNS, EACH, LARGEST, confused_examples, worst_pairs


def _case(side: int, channels: int, seed: int = 0):
    """Pictures whose grey value is their own number, so that a tile tells which image it shows."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, 120)
    told = np.where(rng.random(120) < 0.4, rng.integers(0, 5, 120), labels)
    images = np.broadcast_to(
        np.arange(120, dtype=np.uint8)[:, None, None, None], (120, channels, side, side)
    ).copy()
    confusion = np.zeros((5, 5), dtype=np.int64)
    np.add.at(confusion, (labels, told), 1)
    return images, labels, torch.from_numpy(told), torch.from_numpy(confusion)


def _shown(sheet: bytes, facts: dict, tile: int) -> int:
    picture = np.asarray(Image.open(io.BytesIO(sheet)).convert("L"))
    side = facts["tile"]
    row, column = divmod(tile, facts["columns"])
    return int(picture[row * side + side // 2, column * side + side // 2])


@pytest.mark.parametrize("channels", [1, 3])
def test_every_tile_shows_an_image_of_its_pair(channels):
    images, labels, told, confusion = _case(8, channels)
    facts, sheet = confused_examples(images, labels, told, confusion)
    assert facts["columns"] == COLUMNS
    assert facts["tile"] == 8
    for pair in facts["pairs"]:
        assert pair["count"] == int(confusion[pair["label"], pair["taken_for"]])
        assert pair["images"] == int((labels == pair["label"]).sum())
        assert len(pair["tiles"]) == min(EACH, pair["count"])
        for tile in pair["tiles"]:
            image = _shown(sheet, facts, tile)
            assert (labels[image], int(told[image])) == (pair["label"], pair["taken_for"])
    for label, tile in facts["classes"].items():
        image = _shown(sheet, facts, tile)
        assert labels[image] == int(told[image]) == int(label)


def test_pairs_come_worst_first_and_without_the_diagonal():
    confusion = torch.tensor([[50, 3, 0], [7, 1, 0], [0, 3, 9]])
    assert worst_pairs(confusion) == [(1, 0, 7), (0, 1, 3), (2, 1, 3)]
    assert worst_pairs(confusion, most=1) == [(1, 0, 7)]
    assert int(confusion[0, 0]) == 50


def test_large_pictures_are_made_smaller():
    images, labels, told, confusion = _case(200, 3)
    facts, sheet = confused_examples(images, labels, told, confusion)
    assert facts["tile"] == LARGEST
    assert Image.open(io.BytesIO(sheet)).width == COLUMNS * LARGEST
    assert len(sheet) < 200_000


def test_features_and_perfect_models_have_no_pictures():
    images, labels, told, confusion = _case(8, 1)
    assert confused_examples(images.reshape(120, -1), labels, told, confusion) is None
    assert confused_examples(images[:, [0, 0]], labels, told, confusion) is None
    right = torch.diag(torch.bincount(torch.from_numpy(labels)))
    assert confused_examples(images, labels, torch.from_numpy(labels), right) is None

"""Which images are trained on, what chooses the epoch, and how weights start."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fixhead import RequestError
from fixhead.backbones import build, xavier_
from fixhead.comparison import Comparison, compare
from fixhead.comparison.context import prepare
from fixhead.data import load, share
from fixhead.runs.records import read
from fixhead.training import Recipe

BASE = Comparison(
    heads=("random-cosine@8",), seeds=1, device="cpu", recipe=Recipe(epochs=2, lr=0.05)
)


def only_row(comparison, folder):
    compare(comparison, folder)
    return read(folder / "runs.jsonl")[0]


def test_the_last_epoch_counts_and_every_image_is_trained_on(tmp_path):
    chosen = replace(BASE, choose="last")
    parts = prepare(chosen).parts(0, 64)
    assert parts.validation is None
    assert len(parts.train.split) == len(load("digits").train)
    row = only_row(chosen, tmp_path)
    assert row["best_epoch"] == row["epochs"] == 2
    assert row["val_accuracy"] is None
    assert row["test_accuracy"] == row["last_epoch_accuracy"]


def test_the_test_set_chooses_where_that_is_asked_for_and_the_record_says_so(tmp_path):
    row = only_row(replace(BASE, choose="test"), tmp_path)
    assert row["config"]["choose"] == "test"
    assert row["val_accuracy"] == pytest.approx(row["test_accuracy"])


def test_defaults_leave_digests_as_they_were():
    facts = BASE.to_dict()
    assert {"choose", "initial", "train_images"} <= set(facts)
    assert replace(BASE, choose="last").digest != BASE.digest
    assert replace(BASE, initial="xavier").digest != BASE.digest
    assert Comparison.from_dict(facts).digest == BASE.digest
    for name in ("choose", "initial", "train_images"):
        del facts[name]  # a folder from before there were such options
    assert Comparison.from_dict(facts).digest == BASE.digest


def test_a_share_takes_the_same_part_of_every_class_and_all_where_there_are_fewer():
    digits = load("digits")
    sizes = digits.train.counts(10)
    part = share(digits, 500)
    counts = part.train.counts(10)
    assert abs(counts.sum() - 500) <= 10
    assert np.abs(counts - sizes * 500 / sizes.sum()).max() <= 0.5
    assert share(digits, 10**6) is digits
    assert np.array_equal(share(digits, 500).train.labels, part.train.labels)


def test_xavier_weights_fill_their_bound_and_follow_the_seed():
    first, again, other = (
        build("small-cnn", channels=1, image_size=8, features=2, seed=0) for _ in range(3)
    )
    xavier_(first, 0)
    xavier_(again, 0)
    xavier_(other, 1)
    weights = {name: value for name, value in first.named_parameters() if value.ndim > 1}
    for name, weight in weights.items():
        fan_in, fan_out = torch.nn.init._calculate_fan_in_and_fan_out(weight)
        bound = math.sqrt(6 / (fan_in + fan_out))
        assert 0.7 * bound < float(weight.detach().abs().max()) <= bound
        assert torch.equal(weight, again.get_parameter(name))
        assert not torch.equal(weight, other.get_parameter(name))


@pytest.mark.parametrize(
    "values",
    [{"choose": "luck"}, {"initial": "zero"}, {"train_images": 0}],
)
def test_what_makes_no_sense_is_refused(values):
    with pytest.raises(RequestError, match=next(iter(values))):
        replace(BASE, **values)


def test_tuning_and_a_plateau_need_validation(tmp_path):
    with pytest.raises(RequestError, match="tune"):
        replace(BASE, choose="last", tune=(0.1,))
    falling = replace(BASE, choose="last", recipe=Recipe(epochs=2, schedule="plateau"))
    with pytest.raises(RequestError, match="validation"):
        compare(falling, tmp_path)

"""Early stopping, and weights averaged over the steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_resumption import Killed, assert_same_run, run, stop_after
from training_toys import blobs, tiny

from fixhead import RequestError
from fixhead.training import Recipe, train
from fixhead.training.engine import AveragedWeights

STOPPING = Recipe(epochs=30, lr=1e-6, warmup_epochs=0, patience=2, batch_size=16)
AVERAGING = Recipe(epochs=4, lr=0.05, batch_size=16, ema=0.9)


def test_training_stops_once_so_many_epochs_brought_nothing_better() -> None:
    result = run(None, STOPPING)
    assert len(result.history) == result.best_epoch + 2 < 30
    scores = [row["val_accuracy"] for row in result.history]
    assert max(scores[result.best_epoch :]) <= scores[result.best_epoch - 1]


def test_a_run_that_has_stopped_does_not_go_on_when_started_again(tmp_path: Path) -> None:
    first = run(tmp_path, STOPPING, keep_checkpoint=True)
    again = run(tmp_path, STOPPING, keep_checkpoint=True)
    assert again.resumed_from == len(first.history)
    assert_same_run(first, again)


def test_stopping_needs_a_score() -> None:
    with pytest.raises(RequestError, match="patience=2 needs a validation split"):
        train(tiny(), blobs(), None, STOPPING, seed=0, device="cpu")


@pytest.mark.parametrize("value", [-1, 1.0, float("nan")])
def test_a_decay_lies_between_nothing_and_one(value: float) -> None:
    with pytest.raises(RequestError, match="ema must be"):
        Recipe(ema=value)


def test_averages_are_those_of_the_formula_and_frozen_vectors_stay_bit_for_bit() -> None:
    model = tiny(head="random-cosine@20")
    average = AveragedWeights(model, decay=0.5)
    names = [
        name
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point() and name != "head.vectors"
    ]
    expected = {name: model.state_dict()[name].double() for name in names}
    vectors = model.head.vectors.clone()
    draws = torch.Generator().manual_seed(0)
    for step in range(1, 12):
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn(weight.shape, generator=draws))
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        for name in names:
            new = model.state_dict()[name].double()
            expected[name] = decay * expected[name] + (1 - decay) * new
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with average.in_place():
        inside = model.state_dict()
        for name in names:
            torch.testing.assert_close(inside[name].double(), expected[name], rtol=1e-5, atol=1e-6)
        assert torch.equal(model.head.vectors, vectors)
    assert all(torch.equal(own[name], tensor) for name, tensor in model.state_dict().items())


def test_what_is_kept_and_validated_are_the_averages() -> None:
    model, validation = tiny(dropout=0.0), blobs(images=31, shuffle=False)
    result = train(model, blobs(), validation, AVERAGING, seed=0, device="cpu")
    plain = run(None, Recipe(epochs=4, lr=0.05, batch_size=16))
    weight = "backbone.body.1.weight"
    assert not torch.equal(result.last_state[weight], plain.last_state[weight])
    assert torch.equal(model.state_dict()[weight], result.last_state[weight])
    model.eval()
    [(images, labels)] = [
        (torch.cat([one for one, _ in part]), torch.cat([one for _, one in part]))
        for part in [list(validation.epoch(1))]
    ]
    with torch.no_grad():
        right = (model(images).argmax(dim=1) == labels).double().mean()
    assert float(right) == pytest.approx(result.history[-1]["val_accuracy"])


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_resumed_run_with_averages_equals_an_undisturbed_one(epoch: int, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, AVERAGING, on_epoch=stop_after(epoch))
    assert_same_run(run(tmp_path, AVERAGING, keep_checkpoint=True), run(None, AVERAGING))
    assert_same_run(run(tmp_path, AVERAGING), run(None, AVERAGING))


def test_heads_whose_bytes_are_chosen_anew_are_not_averaged(monkeypatch: Any) -> None:
    model = tiny()
    monkeypatch.setattr(type(model.head), "quantised", property(lambda _: True))
    with pytest.raises(RequestError, match=r"chosen anew every epoch; use ema=0"):
        AveragedWeights(model, 0.9)

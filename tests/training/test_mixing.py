from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from training_toys import blobs, tiny

from fixhead import RequestError
from fixhead._seeds import forked
from fixhead.cli import run
from fixhead.data import Batches, Split, augmentation
from fixhead.data.augment import Mixed
from fixhead.training import Recipe, train
from fixhead.training.step import targets

RECIPE = Recipe(epochs=2, batch_size=16, schedule="constant", warmup_epochs=0, momentum=0.0,
                nesterov=False, weight_decay=0.0)  # fmt: skip


def pictures(how: str) -> Batches:
    """60 grey 4×4 pictures of three classes."""
    draws = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (60, 1, 4, 4), generator=draws, dtype=torch.uint8)
    split = Split(pixels.numpy(), (torch.arange(60) % 3).numpy())
    return Batches(
        split, 16, device="cpu", mean=(0.5,), std=(0.3,), augmentation=augmentation(how),
        seed=0, shuffle=True,
    )  # fmt: skip


def published(mixed: Mixed, logits: Tensor) -> Tensor:
    return mixed.weight * cross_entropy(logits, mixed.labels) + (1 - mixed.weight) * cross_entropy(
        logits, mixed.others
    )


@pytest.mark.parametrize("how", ["mixup:1", "cutmix:1"])
def test_a_mixed_run_learns_the_published_loss(how: str) -> None:
    model, expected = tiny(), tiny()
    result = train(model, pictures(how), None, RECIPE, seed=0, device="cpu")
    optimizer = torch.optim.SGD(expected.parameters(), lr=RECIPE.lr)
    for epoch in (1, 2):
        losses, sizes = [], []
        with forked(0, "dropout", epoch):
            for mixed in pictures(how).mixed(epoch):
                loss = published(mixed, expected(mixed.images))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                sizes.append(len(mixed.labels))
        mean = sum(a * b for a, b in zip(losses, sizes, strict=True)) / 60
        assert result.history[epoch - 1]["train_loss"] == pytest.approx(mean, rel=1e-5)
    for name, weight in expected.state_dict().items():
        if weight.is_floating_point():
            torch.testing.assert_close(model.state_dict()[name], weight, rtol=1e-4, atol=1e-6)


def test_targets_hold_the_weight_of_either_label() -> None:
    mixed = Mixed(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), torch.tensor([2, 1]), 0.75)
    expected = torch.tensor([[0.75, 0.0, 0.25], [0.0, 1.0, 0.0]])
    torch.testing.assert_close(targets(mixed, 3), expected)


@pytest.mark.parametrize("head", ["simplex", "simplex-dr", "learned-cosine@4", "random-dot"])
def test_frozen_and_learned_heads_train_on_mixed_images(head: str) -> None:
    result = train(
        tiny(head=head, classes=4 if "simplex" in head else 3),
        pictures("mixup:0.4"), blobs(shuffle=False), RECIPE, seed=0, device="cpu",
    )  # fmt: skip
    assert all(math.isfinite(row["train_loss"]) for row in result.history)


def test_the_training_accuracy_counts_the_label_with_the_larger_share() -> None:
    model = tiny(dropout=0.0)
    still = Recipe(**{**RECIPE.to_dict(), "epochs": 1, "lr": 1e-30})
    row = train(model, pictures("cutmix:1"), None, still, seed=0, device="cpu").history[0]
    model.train()
    right = 0
    for mixed in pictures("cutmix:1").mixed(1):
        share = mixed.labels if mixed.weight >= 0.5 else mixed.others
        right += int((model(mixed.images).argmax(dim=1) == share).sum())
    assert row["train_accuracy"] == pytest.approx(right / 60)


def test_a_margin_refuses_mixed_labels_before_training() -> None:
    model = tiny(head="vectors=random,loss=cosface:0.2,scale=4")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RequestError, match=r"mixup:1 mixes labels, and loss=cosface:0\.2"):
        train(model, pictures("mixup:1"), None, RECIPE, seed=0, device="cpu")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_comparison_with_a_margin_refuses_mixing_and_writes_nothing(tmp_path, capsys) -> None:
    out = tmp_path / "out"
    heads = "simplex;vectors=simplex,loss=arcface:0.2"
    options = ["--heads", heads, "--augmentation", "mixup:1", "--out", str(out)]
    assert run(["compare", *options]) == 2
    assert "arcface" in capsys.readouterr().err
    assert not out.exists()


def test_a_comparison_mixes_and_says_so_in_its_records(tmp_path) -> None:
    options = ["--heads", "simplex-dr", "--epochs", "1", "--seeds", "1", "--device", "cpu"]
    out = tmp_path / "out"
    assert run(["compare", *options, "--augmentation", "crop:1,mixup:0.2", "--dry-run"]) == 0
    assert run(["compare", *options, "--augmentation", "crop:1,mixup:0.2", "--out", str(out)]) == 0
    assert '"augmentation": "crop:1,mixup:0.2"' in (out / "runs.jsonl").read_text()

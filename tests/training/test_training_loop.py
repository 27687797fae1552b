"""train(): what it learns, writes, chooses, and where it stops."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from training_toys import MemoryBatches, blobs, digits, small_cnn, tiny

from fixhead._errors import RequestError
from fixhead._seeds import forked
from fixhead.training import Classifier, NonFiniteLossError, Recipe, train
from fixhead.training.engine import Schedule

SHORT = Recipe(epochs=3, lr=0.05, batch_size=16)


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def by_hand(model: Classifier, batches: MemoryBatches, recipe: Recipe, seed: int) -> list[float]:
    """A plain PyTorch loop; the mean loss of each epoch."""
    optimizer = torch.optim.SGD(
        [
            {"params": [*model.backbone.parameters(), model.head.vectors]},
            {"params": [model.head.bias], "weight_decay": 0.0},
        ],
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    schedule, step, means = Schedule(recipe, len(batches)), 0, []
    for epoch in range(1, recipe.epochs + 1):
        total = 0.0
        with forked(seed, "dropout", epoch):
            for images, labels in batches.epoch(epoch):
                for group in optimizer.param_groups:
                    group["lr"] = recipe.lr * schedule.factor(step)
                optimizer.zero_grad()
                loss = cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
                total += loss.item() * len(labels)
                step += 1
        means.append(total / len(batches.labels))
    return means


def test_the_loop_is_a_plain_pytorch_loop_bit_for_bit() -> None:
    ours, plain = tiny(), tiny()
    result = train(ours, blobs(), blobs(shuffle=False), SHORT, seed=5, device="cpu")
    means = by_hand(plain.train(), blobs(), SHORT, seed=5)
    assert_same(ours.state_dict(), plain.state_dict())
    assert [row["train_loss"] for row in result.history] == pytest.approx(means, rel=1e-6)


def test_one_seed_gives_one_run_and_another_seed_another() -> None:
    runs = [
        train(tiny(), blobs(), None, SHORT, seed=seed, device="cpu").last_state
        for seed in (0, 0, 1)
    ]
    assert_same(runs[0], runs[1])
    assert not torch.equal(runs[0]["backbone.body.1.weight"], runs[2]["backbone.body.1.weight"])


def test_training_leaves_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    train(tiny(), blobs(), blobs(), SHORT, seed=0, device="cpu")
    assert torch.equal(state, torch.random.get_rng_state())


def test_epochs_are_asked_for_by_their_number_from_one() -> None:
    batches, validation = blobs(), blobs(shuffle=False)
    train(tiny(), batches, validation, SHORT, seed=0, device="cpu")
    assert batches.asked == [1, 2, 3]
    assert validation.asked == [1, 2, 3]


def test_a_row_holds_the_epochs_figures(tmp_path: Path) -> None:
    seen: list[int] = []
    model, validation = tiny(), blobs(images=31, shuffle=False)
    result = train(
        model,
        blobs(),
        validation,
        SHORT,
        seed=0,
        run_dir=tmp_path,
        device="cpu",
        on_epoch=lambda row: seen.append(row["epoch"]),
    )
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert rows == result.history
    assert seen == [row["epoch"] for row in rows] == [1, 2, 3]
    assert list(rows[0]) == (
        "epoch lr train_loss train_accuracy val_loss val_accuracy seconds images_per_second".split()
    )
    logits = model.eval()(validation.images)
    assert rows[-1]["val_loss"] == pytest.approx(cross_entropy(logits, validation.labels).item())
    right = (logits.argmax(1) == validation.labels).double().mean().item()
    assert rows[-1]["val_accuracy"] == pytest.approx(right)
    assert rows[0]["lr"] == pytest.approx(0.05 / 4)
    assert rows[1]["lr"] == 0.05
    assert result.seconds == pytest.approx(sum(row["seconds"] for row in rows))
    assert not (tmp_path / "checkpoint").exists()


def test_a_rising_scale_has_its_value_at_the_last_step_and_stands_in_the_history(
    tmp_path: Path,
) -> None:
    model, data = tiny(head="learned-cosine@8:rising"), blobs()
    seen: list[float] = []
    assert model.head.scale is not None
    scale = model.head.scale
    judge = model.head.loss_and_logits

    def watched(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if model.training:
            seen.append(float(scale))
        return judge(features, labels)

    model.head.loss_and_logits = watched  # type: ignore[method-assign]
    result = train(model, data, None, SHORT, seed=0, run_dir=tmp_path)
    steps = SHORT.epochs * len(data)
    assert seen == pytest.approx([2 + 6 * step / (steps - 1) for step in range(steps)])
    ends = [row["scale"] for row in result.history]
    assert ends == pytest.approx([seen[(epoch + 1) * len(data) - 1] for epoch in range(3)])
    assert ends[-1] == 8.0
    plain = train(tiny(head="learned-cosine@8"), blobs(), None, SHORT, seed=0)
    assert all("scale" not in row for row in plain.history)


def test_the_first_of_the_best_epochs_is_kept() -> None:
    model, validation = tiny(), blobs(shuffle=False)
    recipe = Recipe(epochs=8, lr=0.05, batch_size=16)
    states: list[dict[str, Tensor]] = []
    result = train(
        model,
        blobs(),
        validation,
        recipe,
        seed=0,
        device="cpu",
        on_epoch=lambda row: states.append(
            {name: tensor.clone() for name, tensor in model.state_dict().items()}
        ),
    )
    scores = [row["val_accuracy"] for row in result.history]
    assert result.best_epoch == scores.index(max(scores)) + 1
    assert scores.count(max(scores)) > 1  # so that the first of several was to be chosen
    assert_same(result.best_state, states[result.best_epoch - 1])
    assert_same(result.last_state, states[-1])


def test_without_a_validation_split_the_last_epoch_is_the_best() -> None:
    result = train(tiny(), blobs(), None, SHORT, seed=0, device="cpu")
    assert result.best_epoch == 3
    assert_same(result.best_state, result.last_state)
    assert result.history[0]["val_loss"] is None
    assert result.history[0]["val_accuracy"] is None


def test_balanced_accuracy_is_the_mean_over_the_classes_that_occur() -> None:
    model = tiny()
    validation = blobs(images=30, shuffle=False)
    keep = torch.cat([torch.arange(0, 30, 3), torch.tensor([2])])  # 10 of class 0, 1 of class 2
    few = MemoryBatches(validation.images[keep], validation.labels[keep], 4, shuffle=False)
    one = Recipe(epochs=1, lr=0.05, batch_size=16)
    result = train(model, blobs(), few, one, seed=0, device="cpu", choose_on="balanced_accuracy")
    right = model.eval()(few.images).argmax(1) == few.labels
    expected = (right[:10].double().mean() + right[10].double()) / 2
    assert result.history[0]["val_balanced_accuracy"] == pytest.approx(expected.item())


def test_plateau_lowers_the_rate_on_the_validation_score() -> None:
    recipe = Recipe(
        epochs=4, lr=1e-6, schedule="plateau", plateau_patience=0, warmup_epochs=0, batch_size=16
    )
    # At this rate nothing is learned: the score of epoch 1 is never beaten.
    result = train(tiny(), blobs(), blobs(), recipe, seed=0, device="cpu")
    rates = [row["lr"] for row in result.history]
    assert rates == pytest.approx([1e-6, 1e-6, 2e-7, 4e-8])


class Poisoned(MemoryBatches):
    """Batches of which one, counted over all epochs from 0, is NaN."""

    def __init__(self, bad: int) -> None:
        source = blobs(images=1600)
        super().__init__(source.images, source.labels, 16, shuffle=False)
        self.bad = bad

    def epoch(self, number: int):
        for step, (images, labels) in enumerate(super().epoch(number), (number - 1) * len(self)):
            yield images * (math.nan if step == self.bad else 1.0), labels


@pytest.mark.parametrize(
    ("bad", "epoch", "step"), [(0, 1, 1), (70, 1, 71), (99, 1, 100), (130, 2, 31)]
)
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(
    bad: int, epoch: int, step: int, tmp_path: Path
) -> None:
    with pytest.raises(NonFiniteLossError, match=f"nan at step {step} of epoch {epoch};") as caught:
        train(tiny(), Poisoned(bad), None, SHORT, seed=0, device="cpu", run_dir=tmp_path)
    assert (caught.value.epoch, caught.value.step) == (epoch, step)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, epoch))


def test_a_validation_loss_that_is_not_finite_stops_the_run_too() -> None:
    validation = blobs(shuffle=False)
    validation.images[20] = math.inf
    with pytest.raises(NonFiniteLossError, match="the validation loss became nan at step 2"):
        train(tiny(), blobs(), validation, SHORT, seed=0, device="cpu")


def test_the_loop_waits_for_the_device_at_an_epochs_end_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads: list[str] = []
    # As on another device, where no value can be read without a wait.
    monkeypatch.setattr("fixhead.heads.loss.readable", lambda values: False)

    def counting(name: str, original: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
        def counted(tensor: Tensor) -> Any:
            reads.append(name)
            return original(tensor)

        return counted

    for name in ("item", "cpu", "tolist", "__bool__", "__float__", "__int__"):
        monkeypatch.setattr(Tensor, name, counting(name, getattr(Tensor, name)))
    counts = []
    for images in (16 * 4, 16 * 40):
        reads.clear()
        batches = blobs(images=images)
        train(tiny(), batches, None, Recipe(epochs=1, batch_size=16), seed=0, device="cpu")
        counts.append(len(reads))
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(
    ("recipe", "options", "words"),
    [
        (Recipe(schedule="plateau"), {}, "schedule='plateau' needs a validation split, got none"),
        (Recipe(), {"choose_on": "f1"}, "choose_on must be one of .*balanced_accuracy.*, got 'f1'"),
        (Recipe(), {"device": "tpu"}, "device must be one of this machine's, got 'tpu'"),
        (Recipe(precision="16-mixed"), {"device": "cpu"}, "precision='16-mixed' needs a GPU"),
    ],
)
def test_what_cannot_be_met_is_refused_before_training(
    recipe: Recipe, options: dict[str, str], words: str
) -> None:
    model = tiny()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(RequestError, match=words):
        train(model, blobs(), None, recipe, seed=0, **options)
    assert_same(before, model.state_dict())


@pytest.mark.parametrize(
    "head",
    [
        "learned-dot",
        "simplex",
        pytest.param("random-dot", marks=pytest.mark.slow),
        pytest.param("learned-cosine@1", marks=pytest.mark.slow),
    ],
)
def test_small_cnn_learns_digits(head: str) -> None:
    batches, validation, test = digits()
    model = small_cnn(head)
    result = train(model, batches, validation, Recipe(epochs=5), seed=0, device="cpu")
    model.load_state_dict(result.best_state)
    model.eval()
    with torch.no_grad():
        right = model(test.images).argmax(1) == test.labels
    assert right.double().mean() > 0.95

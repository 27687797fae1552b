"""Precision, compilation, determinism and devices."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from training_toys import blobs, tiny

from fixhead._errors import RequestError
from fixhead.backbones import build
from fixhead.heads import ClassificationHead
from fixhead.training import Classifier, Recipe, resolve_device, train
from fixhead.training.engine import Engine, determinism, open_fabric

RECIPE = Recipe(lr=0.05, batch_size=16)


def engine_of(model: Classifier, recipe: Recipe) -> Engine:
    return Engine(model, recipe, open_fabric(torch.device("cpu"), recipe))


def test_mixed_precision_keeps_float32_weights_and_learns() -> None:
    model = tiny(dropout=0.0)
    seen: list[torch.dtype] = []
    model.backbone.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    recipe = Recipe(epochs=12, precision="bf16-mixed", batch_size=16)
    result = train(model, blobs(), blobs(), recipe, seed=0, device="cpu")
    assert all(w.dtype == torch.float32 for w in model.parameters())
    assert result.history[-1]["train_accuracy"] > 0.9
    assert torch.bfloat16 in seen


def test_measuring_uses_the_precision_of_training() -> None:
    images, labels = next(blobs(shuffle=False).epoch(1))
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        engine = engine_of(tiny(), Recipe(precision=precision))
        engine.model.eval()
        loss, right = engine.measure(images, labels)
        assert (loss.dtype, right.dtype, right.shape) == (torch.float32, torch.bool, (16,))
        losses.append(loss.item())
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)


def test_learning_gives_the_loss_and_hits_of_before_the_step() -> None:
    images, labels = next(blobs(shuffle=False).epoch(1))
    model = tiny(dropout=0.0)
    logits = tiny(dropout=0.0).train()(images)
    engine = engine_of(model, Recipe())
    model.train()
    loss, right = engine.learn(images, labels)
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item())
    assert torch.equal(right, logits.argmax(dim=1) == labels)
    assert not loss.requires_grad


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch.compile's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_run_agrees_with_a_plain_one() -> None:
    results = [
        train(
            tiny(dropout=0.0),
            blobs(),
            blobs(),
            Recipe(epochs=2, lr=0.05, batch_size=16, compile=compiled),
            seed=0,
            device="cpu",
        )
        for compiled in (False, True)
    ]
    for name, plain in results[0].last_state.items():
        if plain.is_floating_point():
            torch.testing.assert_close(results[1].last_state[name], plain, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch.compile's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_models_of_one_form_share_a_program_and_keep_their_own_weights() -> None:
    images, labels = next(blobs(shuffle=False).epoch(1))
    recipe = Recipe(compile=True, batch_size=len(images))
    torch.compiler.reset()
    counters = torch._dynamo.utils.counters
    for seed in (0, 1):
        counters.clear()
        model = tiny(dropout=0.0)
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.01 * seed
        expected = torch.nn.functional.cross_entropy(model.train()(images), labels)
        loss, _ = engine_of(model, recipe).learn(images, labels)
        torch.testing.assert_close(loss, expected.detach())
        assert counters["stats"]["unique_graphs"] == (1 if seed == 0 else 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch.compile's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_smaller_last_batch_is_not_compiled() -> None:
    images, labels = next(blobs(shuffle=False).epoch(1))
    engine = engine_of(tiny(), Recipe(compile=True, batch_size=len(images)))
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    engine.learn(images[:-2], labels[:-2])
    assert not torch._dynamo.utils.counters["stats"]
    engine.learn(images, labels)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_determinism_is_switched_on_inside_and_put_back_after() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    with determinism(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
    assert not torch.are_deterministic_algorithms_enabled()
    before = torch.backends.cudnn.benchmark
    with determinism(False):
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark == before


def test_a_deterministic_recipe_trains() -> None:
    backbone = build("small-cnn", channels=1, image_size=8, seed=0)
    model = Classifier(backbone, ClassificationHead(64, 3))
    batches = blobs()
    batches.images = torch.nn.functional.pad(batches.images, (2, 2, 2, 2))
    recipe = Recipe(epochs=1, deterministic=True, batch_size=16)
    assert len(train(model, batches, None, recipe, seed=0, device="cpu").history) == 1


def test_devices_are_resolved_or_refused() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(RequestError, match=f"device must be .* got '{name}'; try auto or cpu"):
            resolve_device(name)


def test_a_head_of_another_size_is_refused() -> None:
    backbone = build("small-cnn", channels=1, image_size=8, seed=0)
    with pytest.raises(RequestError, match="size 32, the backbone 'small-cnn' gives 64"):
        Classifier(backbone, ClassificationHead(32, 10))


UNEVEN = (16, 15, 5, 3)
"""Sizes of batches; the last is too small to be divided."""


def learn_in_processes(fabric: Fabric, folder: Path) -> None:
    """One step of a part of the batch in each process; keeps the weights it came to."""
    model = tiny(dropout=0.0)
    engine = Engine(model, RECIPE, fabric)
    images, labels = next(blobs(shuffle=False).epoch(1))
    model.eval()  # batch statistics are each process's own; the gradients of a fixed norm are not
    told = []
    for size in UNEVEN:
        loss, right = engine.learn(images[:size], labels[:size])
        told.append([float(engine.average(loss)), float(engine.average(right.double()))])
    torch.save([model.state_dict(), told], folder / f"{fabric.global_rank}.pt")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch's own, in the processes
def test_two_processes_take_the_step_of_one(tmp_path: Path) -> None:
    fabric = open_fabric(torch.device("cpu"), RECIPE, devices=2, strategy="ddp_spawn")
    fabric.launch(learn_in_processes, tmp_path)
    model = tiny(dropout=0.0)
    engine = engine_of(model, RECIPE)
    model.eval()
    images, labels = next(blobs(shuffle=False).epoch(1))
    expected_told = []
    for size in UNEVEN:
        loss, right = engine.learn(images[:size], labels[:size])
        expected_told.append([float(loss), float(right.sum())])
    for rank in range(2):
        weights, told = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(torch.tensor(told), torch.tensor(expected_told))
        for name, expected in model.state_dict().items():
            if isinstance(expected, torch.Tensor):
                torch.testing.assert_close(weights[name], expected, rtol=1e-5, atol=1e-6)

"""One run: what its record holds, what it may see, and how it goes on after a stop."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from fixhead import RequestError
from fixhead.comparison import Comparison, compare
from fixhead.comparison import run as run_module
from fixhead.comparison.config import RunPlan, TuningPlan, plan_runs
from fixhead.comparison.context import prepare
from fixhead.comparison.run import run
from fixhead.runs.records import FiguresOnTest, TrainingFigures, read
from fixhead.training import Recipe, SilentProgress, load_classifier

TWO_EPOCHS = Comparison(
    heads=("random-cosine@8",), seeds=1, device="cpu", recipe=Recipe(epochs=2, lr=0.05)
)
FIGURES = [one.name for kind in (TrainingFigures, FiguresOnTest) for one in fields(kind)]


@pytest.fixture(scope="module")
def context():
    return prepare(TWO_EPOCHS)


@pytest.fixture(scope="module")
def finished(context, tmp_path_factory):
    """A run's folder, its record, and its plan."""
    out = tmp_path_factory.mktemp("run")
    plan = plan_runs(TWO_EPOCHS)[0]
    return out, run(context, plan, out, SilentProgress()), plan


def logits_of(folder, images):
    model, _ = load_classifier(folder)
    with torch.no_grad():
        return model.eval()(images).double().numpy()


def test_figures_on_the_test_set_are_those_of_the_saved_model_by_hand(context, finished):
    out, record, plan = finished
    batches = list(context.parts(plan.seed, 500).test.epoch(0))
    images = torch.cat([images for images, _ in batches])
    labels = torch.cat([labels for _, labels in batches]).numpy()
    logits = logits_of(out / "runs" / plan.run_id, images)
    right = logits.argmax(1) == labels
    by_class = [right[labels == c].mean() for c in range(10)]
    shifted = logits - logits.max(1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]
    assert record["test_accuracy"] == pytest.approx(right.mean())
    assert record["per_class_accuracy"] == pytest.approx(by_class)
    assert record["balanced_accuracy"] == pytest.approx(np.mean(by_class))
    assert record["test_loss"] == pytest.approx(losses.mean(), rel=1e-5)
    confusion = np.zeros((10, 10), dtype=int)
    np.add.at(confusion, (labels, logits.argmax(1)), 1)
    assert record["geometry"]["confusion"] == confusion.tolist()


def test_the_record_holds_every_figure_and_says_which_run_it_was(finished):
    out, record, plan = finished
    assert set(FIGURES) <= set(record)
    assert (record["status"], record["error"]) == ("done", None)
    history = read(out / "runs" / plan.run_id / "history.jsonl")
    best = max(history, key=lambda row: row["val_accuracy"])  # the first of equals
    assert record["best_epoch"] == best["epoch"]
    assert record["val_accuracy"] == best["val_accuracy"]
    assert record["config"]["choose"] == "validation"
    kept = json.loads((out / "runs" / plan.run_id / "config.json").read_text())
    assert {name: record[name] for name in kept} == kept


def test_the_head_is_stored_with_a_gradient_and_momentum_for_what_is_trained(context):
    for head, trained in (("random-dot", 0), ("learned-dot", 10 * 64 + 10)):
        plan = RunPlan(head, 0, TWO_EPOCHS.recipe)
        model = context.model(plan)
        sizes = run_module._sizes(model, "sgd")
        stored = sum(t.nbytes for t in [*model.head.parameters(), *model.head.buffers()])
        assert sizes["head_parameters"] == trained
        assert sizes["head_bytes"] == stored + 2 * 4 * trained


def test_a_run_that_breaks_has_its_traceback_and_none_in_place_of_every_figure(
    context, finished, tmp_path, monkeypatch
):
    def breaks(*_, **__):
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr(run_module, "train", breaks)
    _, done, plan = finished
    failed = run(context, plan, tmp_path, SilentProgress())
    assert failed["status"] == "failed"
    assert failed["error"].startswith("Traceback")
    assert "ZeroDivisionError: no such luck" in failed["error"]
    assert all(failed[name] is None for name in [*FIGURES, "peak_memory_bytes"])
    assert set(done) - set(failed) == {"examples"}
    same = ("run_id", "head", "seed", "config", "data", "classes", "versions")
    assert {name: failed[name] for name in same} == {name: done[name] for name in same}


@pytest.mark.parametrize("error", [RequestError("not to be had"), OSError("disk full")])
def test_what_concerns_the_whole_comparison_is_raised(context, tmp_path, monkeypatch, error):
    def breaks(*_, **__):
        raise error

    monkeypatch.setattr(run_module, "train", breaks)
    with pytest.raises(type(error), match=str(error)):
        run(context, plan_runs(TWO_EPOCHS)[0], tmp_path, SilentProgress())


def test_a_failed_run_leaves_the_others_their_results(tmp_path, monkeypatch):
    real = run_module.train

    def breaks_for_one(model, *args, **kwargs):
        if model.head.construction == "simplex":
            raise ZeroDivisionError("no such luck")
        return real(model, *args, **kwargs)

    monkeypatch.setattr(run_module, "train", breaks_for_one)
    heads = ("simplex", "random-cosine@8")
    results = compare(replace(TWO_EPOCHS, heads=heads, recipe=Recipe(epochs=1, lr=0.05)), tmp_path)
    assert [(arm["n"], arm["failed"]) for arm in results["arms"]] == [(0, 1), (1, 0)]
    assert "1 of 2 runs failed" in results["notes"][-1]
    assert "no such luck" in (tmp_path / "report.html").read_text()


def test_tuning_never_sees_the_test_set(context, tmp_path):
    test = context.dataset.test
    nonsense = replace(test, images=255 - test.images, labels=(test.labels + 3) % 10)
    other = replace(context, dataset=replace(context.dataset, test=nonsense))
    plan = TuningPlan("random-cosine@8", 0, Recipe(epochs=2, lr=0.05))
    records = [
        run(one, plan, tmp_path / name, SilentProgress())
        for name, one in (("real", context), ("nonsense", other))
    ]
    histories = [
        read(tmp_path / name / "runs" / plan.run_id / "history.jsonl")
        for name in ("real", "nonsense")
    ]
    for record in records:
        assert not set(record) & {one.name for one in fields(FiguresOnTest)}
    for name in ("best_epoch", "val_accuracy"):
        assert records[0][name] == records[1][name]
    for real, made in zip(*histories, strict=True):
        assert real["train_loss"] == made["train_loss"]
        assert real["val_loss"] == made["val_loss"]
    assert not list(tmp_path.rglob("model.safetensors"))


def test_the_best_rate_on_validation_is_taken_for_each_head_and_the_smaller_in_a_tie(
    tmp_path, monkeypatch
):
    scores = {("simplex", 0.01): 0.8, ("simplex", 0.1): 0.9}
    scores |= {("hadamard", 0.01): 0.7, ("hadamard", 0.1): 0.7}
    taken = []

    def made(context, plan, *_, **__):
        score = scores.get((plan.head, plan.recipe.lr), 0.5)
        if not isinstance(plan, TuningPlan):
            taken.append((plan.head, plan.recipe.lr))
        figures = dict.fromkeys(FIGURES) | {"val_accuracy": score, "test_accuracy": score}
        return {
            "schema": "fixhead.run/1", "run_id": plan.run_id, "head": plan.head, "seed": plan.seed,
            "status": "done", "error": None, "train_seconds": 1.0,
            "config": plan.recipe.to_dict() | {"choose_on": "accuracy"},
        } | figures | {"train_seconds": 1.0}  # fmt: skip

    monkeypatch.setattr(run_module, "run", made)
    monkeypatch.setattr("fixhead.comparison.job.write_page", lambda directory: None)
    chosen = replace(TWO_EPOCHS, heads=("simplex", "hadamard"), tune=(0.01, 0.1))
    results = compare(chosen, tmp_path)
    assert taken == [("simplex", 0.1), ("hadamard", 0.01)]
    assert [arm["learning_rate"] for arm in results["arms"]] == [0.1, 0.01]
    assert len(read(tmp_path / "tuning.jsonl")) == 4


class StopsAfterOneEpoch(SilentProgress):
    def epoch(self, row):
        raise KeyboardInterrupt


def test_a_run_that_was_stopped_ends_as_an_undisturbed_one(context, finished, tmp_path):
    out, record, plan = finished
    with pytest.raises(KeyboardInterrupt):
        run(context, plan, tmp_path, StopsAfterOneEpoch(), checkpoint_every_s=0.0)
    again = run(context, plan, tmp_path, SilentProgress())
    moving = {"train_seconds", "images_per_second", "peak_memory_bytes", "started_at", "commit"}
    assert {k: v for k, v in again.items() if k not in moving} == {
        k: v for k, v in record.items() if k not in moving
    }
    first, second = (folder / "runs" / plan.run_id for folder in (out, tmp_path))
    for epoch, other in zip(*(read(f / "history.jsonl") for f in (first, second)), strict=True):
        assert epoch["train_loss"] == other["train_loss"]
        assert epoch["val_accuracy"] == other["val_accuracy"]
    model = "model.safetensors"
    assert (first / model).read_bytes() == (second / model).read_bytes()

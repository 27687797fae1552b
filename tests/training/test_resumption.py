"""A run that was stopped ends where an undisturbed one ends, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from training_toys import blobs, tiny

from fixhead import _files
from fixhead._errors import RequestError
from fixhead.training import (
    Recipe,
    TrainingResult,
    checkpoints,
    remove_checkpoint,
    train,
)

RECIPE = Recipe(epochs=4, lr=0.05, batch_size=16)
TIMES = ("seconds", "images_per_second")


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the run's own clean-up may be needed."""


def run(folder: Path | None, recipe: Recipe = RECIPE, **options: Any) -> TrainingResult:
    arguments: dict[str, Any] = {"seed": 0, "device": "cpu", "checkpoint_every_s": 0.0}
    arguments |= options
    validation = blobs(images=31, shuffle=False)
    return train(tiny(), blobs(), validation, recipe, run_dir=folder, **arguments)


def assert_same_run(first: TrainingResult, second: TrainingResult) -> None:
    assert first.best_epoch == second.best_epoch
    for mine, theirs in (
        (first.best_state, second.best_state),
        (first.last_state, second.last_state),
    ):
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert timeless(first.history) == timeless(second.history)


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in row if name not in TIMES} for row in rows]


def stop_after(epoch: int) -> Callable[[dict[str, Any]], None]:
    def stop(row: dict[str, Any]) -> None:
        if row["epoch"] == epoch:
            raise Killed

    return stop


@pytest.mark.parametrize("epoch", [1, 2, 3])
@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        Recipe(epochs=4, lr=0.01, optimizer="adam", batch_size=16),
        Recipe(epochs=4, lr=1e-6, schedule="plateau", plateau_patience=0, batch_size=16),
        Recipe(epochs=4, precision="bf16-mixed", batch_size=16),
    ],
    ids=["sgd", "adam", "plateau", "bf16"],
)
def test_a_resumed_run_equals_an_undisturbed_one(
    epoch: int, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        run(tmp_path, recipe, on_epoch=stop_after(epoch))
    resumed = run(tmp_path, recipe)
    assert resumed.resumed_from == epoch
    assert_same_run(resumed, run(None, recipe))
    assert not (tmp_path / "checkpoint").exists()


class Trap:
    """Raises Killed at the n-th event: before a write, in its middle, or after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.at, self.events = at, 0
        save, force, append = torch.save, _files._force_to_disk, checkpoints.HistoryFile.append
        replace, unlink = Path.replace, Path.unlink

        def torch_save(content: object, path: Path) -> None:
            self.event()
            save(content, path)
            if self.events == self.at - 1:
                path.write_bytes(path.read_bytes()[:100])
            self.event()

        def replacing(path: Path, target: Path) -> Path:
            self.event()
            result = replace(path, target)
            self.event()
            return result

        def forcing(path: Path) -> None:
            self.event()
            force(path)

        def appending(file: checkpoints.HistoryFile, row: dict[str, Any]) -> None:
            self.event()
            append(file, row)
            self.event()

        def unlinking(path: Path, missing_ok: bool = False) -> None:
            if self.sprung:  # a killed process clears nothing up
                return
            self.event()
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(checkpoints.torch, "save", torch_save)
        monkeypatch.setattr(_files, "_force_to_disk", forcing)
        monkeypatch.setattr(checkpoints.HistoryFile, "append", appending)
        monkeypatch.setattr(Path, "replace", replacing)
        monkeypatch.setattr(Path, "unlink", unlinking)

    @property
    def sprung(self) -> bool:
        return self.events >= self.at

    def event(self) -> None:
        self.events += 1
        if self.events == self.at:
            raise Killed


def test_a_kill_at_any_moment_of_writing_loses_nothing_but_time(tmp_path: Path) -> None:
    undisturbed = run(None)
    moment, stops = 0, 0
    while True:
        moment += 1
        folder = tmp_path / str(moment)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            trap = Trap(patch, moment)
            try:
                run(folder)
            except Killed:
                stops += 1
        if not trap.sprung:
            break
        resumed = run(folder)
        assert_same_run(resumed, undisturbed)
        assert not (folder / "checkpoint").exists()
        lines = (folder / "history.jsonl").read_text().splitlines()
        assert timeless([json.loads(line) for line in lines]) == timeless(undisturbed.history)
    assert stops == moment - 1 > 20


def test_stops_again_and_again_change_nothing(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        with pytest.raises(Killed):
            run(tmp_path, on_epoch=stop_after(epoch))
    assert_same_run(run(tmp_path), run(None))


def test_rows_written_past_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, on_epoch=stop_after(2))
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"epoch": 3}\n{"epoch": 4, "tra')
    resumed = run(tmp_path, on_epoch=None)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == resumed.history


def test_short_runs_write_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, on_epoch=stop_after(3), checkpoint_every_s=60.0)
    assert not (tmp_path / "checkpoint").exists()
    assert run(tmp_path).resumed_from == 0


def test_without_a_folder_nothing_is_kept() -> None:
    assert_same_run(run(None, keep_checkpoint=True), run(None))


def test_a_kept_checkpoint_spares_training_again(tmp_path: Path) -> None:
    first = run(tmp_path, keep_checkpoint=True)
    epochs: list[int] = []
    again = run(tmp_path, keep_checkpoint=True, on_epoch=lambda row: epochs.append(row["epoch"]))
    assert epochs == []
    assert again.resumed_from == 4
    assert_same_run(first, again)
    remove_checkpoint(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.jsonl"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"recipe": Recipe(epochs=4, lr=0.1, batch_size=16)}, "lr = 0.05, and this one has 0.1;"),
        ({"seed": 1}, "seed = 0, and this one has 1"),
        ({"choose_on": "balanced_accuracy"}, "choose_on = 'accuracy'"),
    ],
)
def test_another_runs_checkpoint_is_refused_and_left_alone(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        run(tmp_path, on_epoch=stop_after(1))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(RequestError, match=words):
        run(tmp_path, **options)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_named(damage: bytes | None, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, on_epoch=stop_after(1))
    path = tmp_path / "checkpoint" / "state.pt"
    path.write_bytes(path.read_bytes()[:2000] if damage is None else damage)
    with pytest.raises(RequestError, match=r"state.pt cannot be read as a checkpoint") as caught:
        run(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_runs_no_code_when_it_is_read(tmp_path: Path) -> None:
    class Trick:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("run from a checkpoint",))

    path = tmp_path / "checkpoint" / "state.pt"
    path.parent.mkdir()
    torch.save({"identity": Trick()}, path)
    with pytest.raises(RequestError, match="cannot be read as a checkpoint"):
        run(tmp_path)


def test_a_full_disk_leaves_the_last_checkpoint_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Killed):
        run(tmp_path, on_epoch=stop_after(1))

    def full(content: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.torch, "save", full)
        with pytest.raises(OSError, match="No space left"):
            run(tmp_path)
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["state.pt"]
    assert_same_run(run(tmp_path), run(None))


def test_a_checkpoint_holds_the_best_weights_as_they_were(tmp_path: Path) -> None:
    result = run(tmp_path, keep_checkpoint=True)
    assert result.best_epoch < 4  # so that best and last differ
    path = tmp_path / "checkpoint" / "state.pt"
    state: dict[str, Tensor] = torch.load(path, weights_only=True)["best_state"]
    assert all(torch.equal(state[name], result.best_state[name]) for name in state)
    assert not torch.equal(
        state["backbone.body.1.weight"], result.last_state["backbone.body.1.weight"]
    )

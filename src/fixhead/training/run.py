"""The state of a run between two epochs: what a checkpoint holds."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .engine import Engine
from .history import Row
from .schedules import Schedule

State = dict[str, Tensor]


class Run:
    """An engine, its schedule, and what the finished epochs came to."""

    def __init__(self, engine: Engine, schedule: Schedule) -> None:
        self.engine = engine
        self.schedule = schedule
        self.epoch = 0
        self.history: list[Row] = []
        self.best_epoch = 0
        self.best_score: float | None = None
        self.best_state: State = {}

    def finish_epoch(self, row: Row, score: float | None) -> None:
        """Keep the row, and the weights if no earlier epoch scored as high.

        Without a score (no validation split) every epoch is the best so far.
        """
        self.epoch = row["epoch"]
        self.history.append(row)
        self.schedule.observe(score)
        if score is None or self.best_score is None or score > self.best_score:
            self.best_epoch, self.best_score = self.epoch, score
            # on its device: fetching them every epoch would hold up an accelerator
            self.best_state = copied(self.engine.model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain Python values only, for ``torch.load(weights_only=True)``."""
        return {
            "model": self.engine.model.state_dict(),
            "engine": self.engine.state_dict(),
            "schedule": self.schedule.state_dict(),
            "epoch": self.epoch,
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "best_state": self.best_state,
        }

    def restore(self, state: dict[str, Any] | None) -> int:
        """Go on from a saved state, if there is one; the number of epochs it had finished."""
        if state is not None:
            self.engine.model.load_state_dict(state["model"])
            self.engine.load_state_dict(state["engine"])
            self.schedule.load_state_dict(state["schedule"])
            self.epoch, self.history = state["epoch"], state["history"]
            self.best_epoch, self.best_score = state["best_epoch"], state["best_score"]
            self.best_state = state["best_state"]
        return self.epoch


def copied(state: State) -> State:
    """Weights apart from the model's own memory."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def copy_of_weights(model: nn.Module) -> State:
    """The state_dict on the CPU, apart from the model's own memory."""
    return on_cpu(copied(model.state_dict()))


def on_cpu(state: State) -> State:
    return {name: tensor.cpu() for name, tensor in state.items()}

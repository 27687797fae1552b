"""Everything that a training run's outcome depends on, besides data, model and seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from .._errors import RequestError

Optimizer = Literal["sgd", "adam", "adamw"]
ScheduleName = Literal["cosine", "step", "plateau", "constant"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; immutable, checked when made, plain JSON in and out.

    Args:
        epochs: passes over the training images.
        batch_size: images in a step.
        optimizer: ``"sgd"``; ``"adam"``, with weight decay added to the gradient (coupled L2);
            ``"adamw"``, with decay apart from it.
        lr: the learning rate after warm-up.
        momentum: of SGD.
        nesterov: Nesterov's form of the momentum.
        weight_decay: of every trained weight but the head's scale and bias.
        schedule: ``"cosine"`` to zero; ``"step"``, times ``gamma`` after each milestone;
            ``"plateau"``, times ``plateau_factor`` when validation stops improving; ``"constant"``.
        warmup_epochs: the rate grows linearly over these, step by step, from lr / steps.
        milestones: epochs after which ``"step"`` lowers the rate; empty for a half and three
            quarters of ``epochs`` (He et al. 2016, section 4.2).
        gamma: factor of ``"step"``.
        plateau_patience: epochs without a better validation score that are let pass.
        plateau_factor: factor of ``"plateau"``.
        precision: ``"32-true"``; ``"bf16-mixed"``; ``"16-mixed"`` (needs a GPU).
        compile: run the backbone through ``torch.compile`` in training.
        deterministic: refuse operations that have no deterministic form (on the CPU all runs are
            deterministic anyway).

    Raises:
        RequestError: a field that is not what it must be, in one sentence.
    """

    epochs: int = 20
    batch_size: int = 64
    optimizer: Optimizer = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    schedule: ScheduleName = "cosine"
    warmup_epochs: float = 1.0
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    plateau_patience: int = 3
    plateau_factor: float = 0.2
    precision: Precision = "32-true"
    compile: bool = False
    deterministic: bool = False

    def __post_init__(self) -> None:
        for name in ("lr", "momentum", "weight_decay", "warmup_epochs", "gamma", "plateau_factor"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        for name in ("epochs", "batch_size", "plateau_patience"):
            _whole(name, getattr(self, name))
        for name in ("nesterov", "compile", "deterministic"):
            _need(isinstance(getattr(self, name), bool), name, "true or false", getattr(self, name))
        object.__setattr__(self, "milestones", _epochs("milestones", self.milestones))
        self._check_choices()
        self._check_ranges()

    def _check_choices(self) -> None:
        for name, kind in (
            ("optimizer", Optimizer),
            ("schedule", ScheduleName),
            ("precision", Precision),
        ):
            known = get_args(kind)
            _need(getattr(self, name) in known, name, f"one of {known}", getattr(self, name))

    def _check_ranges(self) -> None:
        _need(self.epochs >= 1, "epochs", "1 or more", self.epochs)
        _need(self.batch_size >= 2, "batch_size", "2 or more (BatchNorm)", self.batch_size)
        _need(self.lr > 0, "lr", "a number above 0", self.lr)
        _need(0 <= self.momentum < 1, "momentum", "a number in [0, 1)", self.momentum)
        _need(self.weight_decay >= 0, "weight_decay", "0 or more", self.weight_decay)
        _need(0 < self.gamma <= 1, "gamma", "a number in (0, 1]", self.gamma)
        _need(0 < self.plateau_factor < 1, "plateau_factor", "in (0, 1)", self.plateau_factor)
        _need(self.plateau_patience >= 0, "plateau_patience", "0 or more", self.plateau_patience)
        _need(
            0 <= self.warmup_epochs <= self.epochs,
            "warmup_epochs",
            f"a number from 0 to epochs = {self.epochs}",
            self.warmup_epochs,
        )
        if self.nesterov and self.optimizer == "sgd" and self.momentum == 0:
            raise RequestError(
                "nesterov needs a momentum above 0, got momentum=0; turn one of both"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self) | {"milestones": list(self.milestones)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The inverse of ``to_dict``; fields left out keep their default.

        Raises:
            RequestError: a name that is no field, or a value that the field cannot have.
        """
        known = [item.name for item in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise RequestError(
                f"the recipe has no field {unknown[0]!r}; its fields are {', '.join(known)}"
            )
        return cls(**values)


def _need(condition: bool, name: str, what: str, value: object) -> None:
    if not condition:
        raise RequestError(f"{name} must be {what}, got {value!r}")


def _number(name: str, value: object) -> float:
    """The value as a float, so that 1 and 1.0 give one recipe."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    _need(plain and math.isfinite(value), name, "a finite number", value)  # type: ignore[arg-type]
    return float(value)  # type: ignore[arg-type]


def _whole(name: str, value: object) -> None:
    _need(isinstance(value, int) and not isinstance(value, bool), name, "a whole number", value)


def _epochs(name: str, values: object) -> tuple[int, ...]:
    what = "whole epochs from 1 up, in ascending order"
    _need(isinstance(values, list | tuple), name, what, values)
    epochs: tuple[int, ...] = tuple(values)  # type: ignore[arg-type]
    for epoch in epochs:
        _whole(name, epoch)
    _need(list(epochs) == sorted({*epochs}) and min(epochs, default=1) >= 1, name, what, values)
    return epochs

"""The training configuration, spelled once: the Python door, the command line, --config and the
papers take fields, defaults, allowed values and help from here.

Imports no torch, so that ``fixhead --help`` is quick.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args

from .._errors import RequestError

T = TypeVar("T")
Optimizer = Literal["sgd", "adam", "adamw"]
ScheduleName = Literal["cosine", "step", "plateau", "constant"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


def option(default: T, help_text: str, *, choices: object = None, late: bool = False) -> T:
    """A dataclass field with its default, its sentence of help, and its allowed values (a
    ``Literal``) where they can be listed. ``Recipe.epochs`` is the default of ``epochs``.

    ``late`` marks a field that came after records had been written: a record without it means the
    default, which must therefore never change.
    """
    facts = {"help": help_text, "choices": get_args(choices), "late": late}
    described: T = field(default=default, metadata=facts)
    return described


def help_of(configuration: type, name: str) -> str:
    """The sentence that explains the field ``name`` of a dataclass made of ``option``s."""
    described: Field[Any] = configuration.__dataclass_fields__[name]  # type: ignore[attr-defined]
    text: str = described.metadata["help"]
    return text


def refuse_other_values(configuration: Any) -> None:
    """Refuse a value that is not among the choices of its field.

    Raises:
        RequestError: naming the field, its choices and what came.
    """
    for one in fields(configuration):
        choices = one.metadata.get("choices")
        value = getattr(configuration, one.name)
        if choices and value not in choices:
            raise RequestError(f"{one.name} must be one of {', '.join(choices)}, got {value!r}")


def as_first_recorded(configuration: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    """``facts`` without the late fields that have their default: what a digest is taken of, so that
    folders begun before there was such a field go on."""
    late = {
        one.name
        for one in fields(configuration)
        if one.metadata.get("late") and getattr(configuration, one.name) == one.default
    }
    return {name: value for name, value in facts.items() if name not in late}


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; immutable, checked when made, plain JSON in and out.

    The defaults are those of ``fixhead compare``. Where a sentence below is not enough:

    ``optimizer="adam"`` adds the weight decay to the gradient (coupled L2), ``"adamw"`` keeps it
    apart. ``schedule="step"`` lowers the rate at ``milestones``, which stand, where none are given,
    at a half and three quarters of ``epochs`` (He et al. 2016, section 4.2). Runs on the CPU are
    deterministic with or without ``deterministic``.

    Raises:
        RequestError: a field that is not what it must be, in one sentence.
    """

    epochs: int = option(20, "Pass over the training images this often.")
    batch_size: int = option(64, "Take this many images in a step.")
    optimizer: Optimizer = option("sgd", "Train with sgd, adam or adamw.", choices=Optimizer)
    lr: float = option(0.1, "Train at this learning rate, once warm.")
    momentum: float = option(0.9, "Give sgd this momentum.")
    nesterov: bool = option(True, "Give sgd's momentum Nesterov's form.")
    weight_decay: float = option(
        5e-4,
        "Let every trained weight but the head's scale and bias decay so much; coupled for sgd "
        "and adam.",
    )
    schedule: ScheduleName = option(
        "cosine",
        "Lower the learning rate by cosine (to zero), step (at milestones), plateau (when "
        "validation stops improving), or keep it constant.",
        choices=ScheduleName,
    )
    warmup_epochs: float = option(
        1.0, "Let the learning rate grow linearly over this many epochs, step by step."
    )
    milestones: tuple[int, ...] = option(
        (), "Lower the rate after these epochs, with the step schedule."
    )
    gamma: float = option(0.1, "Multiply the rate by this, with the step schedule.")
    plateau_patience: int = option(
        3, "Let this many epochs pass without a better validation score, with the plateau schedule."
    )
    plateau_factor: float = option(0.2, "Multiply the rate by this, with the plateau schedule.")
    patience: int = option(
        0,
        "Stop after this many epochs without a better validation score; 0 for never.",
        late=True,
    )
    ema: float = option(
        0.0,
        "Validate, test and keep weights averaged over the steps with this decay, 0.999 say; 0 for "
        "the last ones.",
        late=True,
    )
    precision: Precision = option(
        "32-true",
        "Compute in 32-true, bf16-mixed or 16-mixed (which needs a GPU).",
        choices=Precision,
    )
    compile: bool = option(False, "Run the backbone through torch.compile in training.")
    deterministic: bool = option(False, "Refuse operations without a deterministic form.")

    def __post_init__(self) -> None:
        numbers = ("lr", "momentum", "weight_decay", "warmup_epochs", "gamma", "plateau_factor")
        for name in (*numbers, "ema"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        for name in ("epochs", "batch_size", "plateau_patience", "patience"):
            _whole(name, getattr(self, name))
        for name in ("nesterov", "compile", "deterministic"):
            _need(isinstance(getattr(self, name), bool), name, "true or false", getattr(self, name))
        object.__setattr__(self, "milestones", _epochs("milestones", self.milestones))
        refuse_other_values(self)
        self._check_ranges()

    def _check_ranges(self) -> None:
        _need(self.epochs >= 1, "epochs", "1 or more", self.epochs)
        _need(self.batch_size >= 2, "batch_size", "2 or more (BatchNorm)", self.batch_size)
        _need(self.lr > 0, "lr", "a number above 0", self.lr)
        _need(0 <= self.momentum < 1, "momentum", "a number in [0, 1)", self.momentum)
        _need(self.weight_decay >= 0, "weight_decay", "0 or more", self.weight_decay)
        _need(0 < self.gamma <= 1, "gamma", "a number in (0, 1]", self.gamma)
        _need(0 < self.plateau_factor < 1, "plateau_factor", "in (0, 1)", self.plateau_factor)
        _need(self.patience >= 0, "patience", "0 or more", self.patience)
        _need(0 <= self.ema < 1, "ema", "a number in [0, 1)", self.ema)
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
        """Plain JSON types; late fields at their default are left out."""
        return as_first_recorded(self, asdict(self) | {"milestones": list(self.milestones)})

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

"""What a swap did and what it saves, for people and for machines."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..head import ClassificationHead
from .affine import Place
from .locate import Found


@dataclass(frozen=True)
class SwappedPlace:
    """One head: where it sits, what was there, what is there now."""

    name: str
    kind: str
    features: int
    classes_before: int
    classes_after: int
    head: str
    auxiliary: bool

    @classmethod
    def of(cls, place: Place, classes: int, head: str) -> SwappedPlace:
        return cls(
            place.name, place.kind, place.features, place.classes, classes, head, place.auxiliary
        )

    def __str__(self) -> str:
        auxiliary = " (auxiliary)" if self.auxiliary else ""
        return (
            f"{self.name}{auxiliary}: {self.kind} {self.features} -> {self.classes_before} "
            f"became {self.head}"
        )


@dataclass(frozen=True)
class SwapReport:
    """What ``swap_head`` did; ``print`` it.

    Attributes:
        model: the model's class.
        found: by what its head was recognised.
        places: one entry per head.
        trainable_before, trainable_after: trained numbers in these heads.
        bytes_before, bytes_after: bytes of their gradients: what data parallel training reduces
            at every step, and what each of the optimiser's state tensors takes.
        model_trainable_before: trained numbers of the whole model.
        notes: what a person should know about this model.
    """

    model: str
    found: str
    places: tuple[SwappedPlace, ...]
    trainable_before: int
    trainable_after: int
    bytes_before: int
    bytes_after: int
    model_trainable_before: int
    notes: tuple[str, ...] = ()

    @property
    def parameters_saved(self) -> int:
        """Trained numbers that are no longer trained."""
        return self.trainable_before - self.trainable_after

    @property
    def gradient_bytes_saved(self) -> int:
        """Bytes of gradient per step that are neither stored nor reduced between devices."""
        return self.bytes_before - self.bytes_after

    def optimizer_bytes_saved(self, states: int = 2) -> int:
        """Bytes of optimiser state: ``states`` tensors per parameter (Adam 2, SGD momentum 1)."""
        return states * self.gradient_bytes_saved

    def __str__(self) -> str:
        share = self.parameters_saved / max(self.model_trainable_before, 1)
        lines = [f"{self.model}, head found by {self.found}"]
        lines += [f"  {place}" for place in self.places]
        lines.append(
            f"  trained parameters of the head {self.trainable_before:,} -> "
            f"{self.trainable_after:,} ({share:.1%} of the model's saved)"
        )
        lines.append(
            f"  saved: gradients {_size(self.gradient_bytes_saved)} per step, optimiser state "
            f"{_size(self.optimizer_bytes_saved(2))} (Adam) or "
            f"{_size(self.optimizer_bytes_saved(1))} (SGD with momentum)"
        )
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def report_of(
    model: nn.Module, found: Found, heads: list[ClassificationHead], trained: int
) -> SwapReport:
    old = [own for place in found.places for own in place.layer.parameters() if own.requires_grad]
    new = [own for head in heads for own in head.parameters() if own.requires_grad]
    return SwapReport(
        model=type(model).__name__,
        found=found.how,
        places=tuple(
            SwappedPlace.of(place, head.classes, str(head.identity))
            for place, head in zip(found.places, heads, strict=True)
        ),
        trainable_before=sum(own.numel() for own in old),
        trainable_after=sum(own.numel() for own in new),
        bytes_before=sum(own.nbytes for own in old),
        bytes_after=sum(own.nbytes for own in new),
        model_trainable_before=trained,
        notes=tuple(note for place in found.places for note in _notes(model, place)),
    )


def _notes(model: nn.Module, place: Place) -> list[str]:
    parent = model.get_submodule(place.name.rpartition(".")[0])
    if not isinstance(parent, nn.Sequential):
        return []
    own = place.name.rpartition(".")[2]
    after = list(parent)[list(parent._modules).index(own) + 1 :]
    return [
        f"the model applies {type(module).__name__} to the logits of {place.name}, as before"
        for module in after
        if isinstance(module, nn.ReLU | nn.Softmax | nn.LogSoftmax | nn.Sigmoid | nn.Tanh)
    ]


def _size(number: int) -> str:
    value = float(number)
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"

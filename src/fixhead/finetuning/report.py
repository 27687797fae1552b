"""What changed when a trained linear head gave way to a fixed one."""

from __future__ import annotations

from dataclasses import dataclass

from ..heads.swap import SwapReport


@dataclass(frozen=True)
class FinetuneEpoch:
    """One epoch: the mean training loss, and the accuracy on validation (None without)."""

    epoch: int
    loss: float
    accuracy: float | None


@dataclass(frozen=True)
class FinetuneReport:
    """What changed when a trained linear head gave way to a fixed one; ``print`` it.

    Attributes:
        swap: what ``swap_head`` did.
        aligned_cosine: mean cosine of the new class vectors with the old, centred ones.
        accuracy_before: with the trained linear head (None without validation batches).
        accuracy_swapped: with the new head, before any training.
        epochs: loss and accuracy of each epoch.
        agreement: the share of validation images that are predicted as before the swap.
        seconds: of the training epochs.
    """

    swap: SwapReport
    aligned_cosine: float
    accuracy_before: float | None
    accuracy_swapped: float | None
    epochs: tuple[FinetuneEpoch, ...]
    agreement: float | None
    seconds: float

    @property
    def accuracy_after(self) -> float | None:
        """The accuracy after the last epoch."""
        return self.epochs[-1].accuracy if self.epochs else self.accuracy_swapped

    def __str__(self) -> str:
        lines = [str(self.swap)]
        lines.append(f"  mean cosine with the trained vectors: {self.aligned_cosine:.3f}")
        if self.accuracy_before is not None and self.accuracy_after is not None:
            lines.append(
                f"  accuracy {self.accuracy_before:.2%} before, {self.accuracy_swapped:.2%} right "
                f"after the swap, {self.accuracy_after:.2%} after {len(self.epochs)} epoch(s)"
            )
        if self.agreement is not None:
            lines.append(f"  predicted as before: {self.agreement:.2%}")
        return "\n".join(lines)

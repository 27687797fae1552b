"""Lightning Fabric set up for one model: device, precision, compilation, determinism."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .._errors import RequestError, require
from .model import Classifier
from .optimizers import build_optimizer
from .recipe import Recipe
from .watch import Watch

require("lightning_fabric", extra="lab")  # says how to install it, before the import below fails
from lightning_fabric import Fabric  # noqa: E402


class Engine:
    """A model on its device, ready to learn from a batch or to be measured on one.

    The model is not wrapped by Fabric: on one device a wrapped forward pass does nothing but what
    ``autocast`` does, and costs 2 % of a small network's step.
    """

    def __init__(self, model: Classifier, recipe: Recipe, device: torch.device) -> None:
        self._fabric = _fabric(device, recipe)
        model.to(device)
        model.to(memory_format=layout(device))  # type: ignore[call-overload]
        self.device = device
        self.model = model
        self.optimizer = build_optimizer(model, recipe)
        self._compiled: Any = compiled(model.backbone) if recipe.compile else None
        self._whole = recipe.batch_size
        self._stepping: Any = self._fabric.setup_optimizers(self.optimizer)

    def set_learning_rate(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def learn(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """One optimiser step; the loss and the right predictions of before it."""
        self.optimizer.zero_grad()
        features = self.model.features
        if self._compiled is not None and len(images) == self._whole:
            features = self._compiled  # not for an epoch's last, smaller batch: another program
        with self._fabric.autocast():
            loss, right = self._judge(features(self._laid_out(images)), labels)
        self._fabric.backward(loss)
        self._stepping.step()
        return loss.detach(), right

    @torch.no_grad()
    def measure(
        self, images: Tensor, labels: Tensor, watch: Watch | None = None
    ) -> tuple[Tensor, Tensor]:
        """The loss and the right predictions, in the precision of training."""
        with self._fabric.autocast():
            features = self.model.features(self._laid_out(images))
            loss, right = self._judge(features, labels)
            points = features if watch is None else self.model.head.project(features)
        if watch is not None:
            watch.add(points, labels)
        return loss.float(), right

    def _judge(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """features (N, d), labels → the head's loss (a scalar), and which predictions are right.

        Of probabilities (N, K) in the labels' place, the largest is what is right.
        """
        loss, logits = self.model.head.loss_and_logits(features, labels)
        wanted = labels if labels.ndim == 1 else labels.argmax(dim=-1)
        return loss, logits.detach().argmax(dim=-1) == wanted

    def _laid_out(self, images: Tensor) -> Tensor:
        if images.ndim != 4:
            return images
        return images.contiguous(memory_format=layout(self.device))

    def state_dict(self) -> dict[str, Any]:
        """Optimiser and, in 16-bit training, the loss scale."""
        precision = self._fabric.strategy.precision
        return {"optimizer": self.optimizer.state_dict(), "precision": precision.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self._fabric.strategy.precision.load_state_dict(state["precision"])


def layout(device: torch.device) -> torch.memory_format:
    """How images lie in memory: NVIDIA's 16-bit convolutions are made for channels last."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


PROGRAMS = 64
"""Backbones that one process may compile. torch stops at eight, and would then run further ones
uncompiled without an error."""


def compiled(backbone: nn.Module) -> Any:
    """The backbone through ``torch.compile``, for batches of one size.

    Backbones that differ in their weights only share one program, whatever their heads are.
    """
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.config.recompile_limit = max(limit, PROGRAMS)
    return torch.compile(backbone, dynamic=False)


def resolve_device(name: str | torch.device) -> torch.device:
    """``"auto"`` takes CUDA where there is one, then Apple's, then the processor.

    Raises:
        RequestError: no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise RequestError(
            f"device must be one of this machine's, got {str(name)!r}; try auto or cpu"
        ) from None
    return device


def _fabric(device: torch.device, recipe: Recipe) -> Fabric:
    if recipe.precision == "16-mixed" and device.type == "cpu":
        raise RequestError("precision='16-mixed' needs a GPU, got the CPU; try bf16-mixed")
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        return Fabric(accelerator="cuda", devices=[index], precision=recipe.precision)
    return Fabric(accelerator=device.type, devices=1, precision=recipe.precision)


@contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    """Only deterministic operations inside, or else cuDNN's fastest convolutions, found by trial;
    torch's switches are put back after."""
    benchmark = torch.backends.cudnn.benchmark
    if not wanted:
        torch.backends.cudnn.benchmark = True
        try:
            yield
        finally:
            torch.backends.cudnn.benchmark = benchmark
        return
    # cuBLAS reads this when it starts, and torch refuses its matrix products without it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.get_deterministic_debug_mode()
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        torch.backends.cudnn.benchmark = benchmark

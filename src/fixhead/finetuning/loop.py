"""A few epochs of a swapped model in plain PyTorch, and its predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .._errors import RequestError
from ..heads.head import ClassificationHead
from .report import FinetuneEpoch

Batches = Iterable[tuple[Any, Tensor]]
MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def train(
    model: nn.Module,
    head: ClassificationHead,
    batches: Batches,
    validation: Batches | None,
    epochs: int,
    make: MakeOptimizer | None,
) -> tuple[list[FinetuneEpoch], tuple[Tensor, Tensor] | None]:
    """The epochs, and the predictions after the last one."""
    parameters = [own for own in model.parameters() if own.requires_grad]
    optimizer = (make or _sgd)(parameters)
    history: list[FinetuneEpoch] = []
    predictions = None
    for epoch in range(1, epochs + 1):
        head.begin_epoch(epoch)
        head.set_progress(epoch / epochs)  # how many steps an epoch has is not known before
        loss = _one_epoch(model, head, batches, optimizer, epoch)
        predictions = None if validation is None else predict(model, validation)
        history.append(FinetuneEpoch(epoch, loss, accuracy_of(predictions)))
    return history, predictions


def _sgd(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9)


def _one_epoch(
    model: nn.Module,
    head: ClassificationHead,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    epoch: int,
) -> float:
    model.train()
    device = head.class_vectors.device
    total, images = 0.0, 0
    for inputs, labels in batches:
        loss = _loss(model, head, inputs.to(device), labels.to(device))
        if not bool(torch.isfinite(loss)):
            raise RequestError(
                f"the loss of finetune_head() must stay finite, got {float(loss.detach())} in "
                f"epoch {epoch} after {images} images; try a lower learning rate"
            )
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        total, images = total + float(loss.detach()) * len(labels), images + len(labels)
    if not images:
        raise RequestError("batches must give at least one batch in every epoch, got none")
    return total / images


def _loss(model: nn.Module, head: ClassificationHead, inputs: Any, labels: Tensor) -> Tensor:
    """The head's own loss on the features that the model gives it."""
    caught: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda _head, args: caught.append(args[0]))
    try:
        logits = logits_of(model(inputs))
    finally:
        handle.remove()
    if str(head.loss_name) == "cross-entropy" and head.class_weights is None:
        return cross_entropy(logits, labels)
    if len(caught) != 1 or caught[0].dim() != 2:
        raise RequestError(
            f"loss={head.loss_name} needs features (N, {head.features}) at the head once per pass, "
            f"got {[tuple(own.shape) for own in caught]}; use a head with cross-entropy"
        )
    return head.loss(caught[0], labels)


def logits_of(output: Any) -> Tensor:
    """The logits (N, K) in what a model returns: the tensor, or its ``.logits``.

    Raises:
        RequestError: the output is neither.
    """
    logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(logits, Tensor):
        raise RequestError(
            f"the model must return logits (N, K) or an object with .logits, got "
            f"{type(output).__name__}"
        )
    return logits


@torch.no_grad()
def predict(model: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
    """Predicted and true classes (N,) and (N,), in evaluation mode; the mode is restored."""
    modes = [(module, module.training) for module in model.modules()]
    device = next(model.parameters()).device
    predicted, true = [], []
    try:
        model.eval()
        for inputs, labels in batches:
            predicted.append(logits_of(model(inputs.to(device))).argmax(dim=1).cpu())
            true.append(labels.cpu())
    finally:
        for module, training in modes:
            module.training = training
    if not predicted:
        raise RequestError("validation must give at least one batch, got none")
    return torch.cat(predicted), torch.cat(true)


def accuracy_of(predictions: tuple[Tensor, Tensor] | None) -> float | None:
    if predictions is None:
        return None
    return float((predictions[0] == predictions[1]).double().mean())

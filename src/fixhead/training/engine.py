"""A model on its devices with its optimiser: Lightning Fabric's part of a training.

The learning rate of every step is a factor of the recipe's ``lr``. With T steps in all, of which W
are warm-up, and t counted from 0:

    warm-up   (t + 1) / W                                for t < W, then
    cosine    ½ (1 + cos(π (t − W) / (T − W)))           Loshchilov & Hutter 2017, eq. 5
    step      γ^(milestones passed by step t's epoch)
    plateau   φ^(times that validation stopped improving)
    constant  1
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._errors import RequestError, require

require("lightning_fabric", extra="lab")  # says how to install it, before the import below fails

from lightning_fabric import Fabric  # noqa: E402

from .model import Classifier  # noqa: E402
from .processes import Share  # noqa: E402
from .recipe import Recipe  # noqa: E402
from .step import ValidationHook, take_step  # noqa: E402

PROGRAMS = 64
"""Backbones that one process may compile. torch stops at eight, and would then run further ones
uncompiled without an error."""

_UNDECAYED = ("scale", "bias")
# fused: one kernel over all weights instead of several per weight
_FUSED_DEVICES = ("cpu", "cuda")


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


def open_fabric(
    device: torch.device,
    recipe: Recipe,
    *,
    devices: int = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
) -> Fabric:
    """Fabric for one device or, with ``devices`` or ``num_nodes``, for a process on each of several
    of its kind: ``fabric.launch(function)`` starts them, and each makes its own ``Engine``.

    Raises:
        RequestError: a precision that the device does not have.
    """
    if recipe.precision == "16-mixed" and device.type == "cpu":
        raise RequestError("precision='16-mixed' needs a GPU, got the CPU; try bf16-mixed")
    chosen: int | list[int] = devices
    if device.type == "cuda" and devices == num_nodes == 1:
        chosen = [torch.cuda.current_device() if device.index is None else device.index]
    return Fabric(
        accelerator=device.type,
        devices=chosen,
        num_nodes=num_nodes,
        strategy=strategy,
        precision=recipe.precision,
    )


LOGS = ("csv", "tensorboard")


def open_log(kind: str, folder: Path) -> Callable[[Mapping[str, Any]], None]:
    """Where every epoch's numbers go besides: one of Fabric's loggers, writing below ``folder``.

    ``csv`` writes ``version_0/metrics.csv``, ``tensorboard`` event files beside it; a run that
    goes on after a stop begins ``version_1``. Nothing leaves the machine.

    Raises:
        RequestError: an unknown kind, or one whose package is missing (it names the extra).
    """
    if kind not in LOGS:
        raise RequestError(f"--log must be one of {', '.join(LOGS)}, got {kind!r}")
    from lightning_fabric.loggers.csv_logs import CSVLogger
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    logger: Any
    if kind == "csv":
        logger = CSVLogger(folder, name="")
    else:
        require("tensorboard", extra="tensorboard")
        logger = TensorBoardLogger(folder, name="")

    def log(row: Mapping[str, Any]) -> None:
        numbers = {
            name: float(value)
            for name, value in row.items()
            if isinstance(value, int | float) and name != "epoch"
        }
        logger.log_metrics(numbers, step=row["epoch"])
        logger.save()

    return log


class Engine:
    """A model on its device, ready to learn from a batch or to be measured on one.

    Among several processes Fabric wraps the model by its strategy, and each process learns from its
    own part of a batch. A single process leaves the wrapper out: there a wrapped forward pass does
    nothing but what ``autocast`` does, and costs 2 % of a small network's step.
    """

    def __init__(self, model: Classifier, recipe: Recipe, fabric: Fabric) -> None:
        self._fabric = fabric
        self.device = fabric.device
        model.to(self.device)
        model.to(memory_format=layout(self.device))  # type: ignore[call-overload]
        self.model = model
        self.optimizer = build_optimizer(model, recipe)
        objective = HeadLoss(model, recipe, self.device)
        self._objective: Any = objective.forward
        self._share = Share(fabric.global_rank, fabric.world_size)
        if fabric.world_size > 1:
            self._objective = fabric.setup_module(objective)
        self._updates: Any = fabric.setup_optimizers(self.optimizer)

    def set_learning_rate(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def learn(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """One optimiser step; the loss and the right predictions of before it.

        Among several processes, those of this one's images, as ``Share`` counts them: their means
        over the processes are the whole batch's.
        """
        if self._share.world == 1:
            return take_step(self._objective, self._updates, images, labels, self._fabric)
        share, batch = self._share, len(labels)
        mine, factor = share.slice(batch), share.factor(batch)

        def objective(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            loss, right = self._objective(images, labels)
            return loss * factor, right

        loss, right = take_step(objective, self._updates, images[mine], labels[mine], self._fabric)
        return loss, share.hits(right, batch)

    def average(self, values: Tensor) -> Tensor:
        """The mean over all processes of what each one has."""
        if self._share.world == 1:
            return values
        mean: Any = self._fabric.all_reduce(values.to(self.device), reduce_op="mean")
        return mean.cpu()  # type: ignore[no-any-return]

    @torch.no_grad()
    def measure(
        self, images: Tensor, labels: Tensor, hook: ValidationHook | None = None
    ) -> tuple[Tensor, Tensor]:
        """The loss and the right predictions, in the precision of training."""
        with self._fabric.autocast():
            features = self.model.features(laid_out(images, self.device))
            loss, right = judge(self.model, features, labels)
            points = features if hook is None else self.model.head.project(features)
        if hook is not None:
            hook.add(points, labels)
        return loss.float(), right

    def state_dict(self) -> dict[str, Any]:
        """Optimiser and, in 16-bit training, the loss scale."""
        precision = self._fabric.strategy.precision
        return {"optimizer": self.optimizer.state_dict(), "precision": precision.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self._fabric.strategy.precision.load_state_dict(state["precision"])


class AveragedWeights:
    """Weights averaged over the steps of a training, beside the model's own.

        a ← D a + (1 − D) w,   D = min(decay, (1 + t) / (10 + t))   after step t = 1, 2, …

    The smaller D of the first steps forgets the first weights. Running statistics are averaged like
    weights; frozen class vectors, and what is no floating-point number, are the model's own.

    Source: Polyak & Juditsky 1992; the first steps as in TensorFlow's ExponentialMovingAverage.

    Raises:
        RequestError: a head whose class vectors are a few bytes each, chosen anew every epoch.
    """

    def __init__(self, model: Classifier, decay: float) -> None:
        if model.head.quantised:
            raise RequestError(
                f"ema={decay} averages weights, and those of vectors={model.head.construction} are "
                "chosen anew every epoch; use ema=0"
            )
        fixed = set() if model.head.learn_vectors else {"head.vectors"}
        self._decay, self.steps = decay, 0
        self._live = [
            tensor.detach()
            for name, tensor in model.state_dict(keep_vars=True).items()
            if tensor.is_floating_point() and name not in fixed
        ]
        self.values = [tensor.clone() for tensor in self._live]

    @torch.no_grad()
    def update(self) -> None:
        """After an optimiser step."""
        self.steps += 1
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        for average, weight in zip(self.values, self._live, strict=True):
            average.lerp_(weight, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averages with the model's own weights; twice is nothing."""
        for average, weight in zip(self.values, self._live, strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the averages inside."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values, "steps": self.steps}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        for average, value in zip(self.values, state["values"], strict=True):
            average.copy_(value)
        self.steps = state["steps"]


class HeadLoss(nn.Module):
    """images (N, C, H, W), labels → the head's loss, and which predictions are right: the whole
    forward pass of a training step, so that a wrapper sees every gradient of it."""

    def __init__(self, model: Classifier, recipe: Recipe, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self._device = device
        self._compiled: Any = compiled(model.backbone) if recipe.compile else None
        self._full_batch = recipe.batch_size

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.model.features
        if self._compiled is not None and len(images) == self._full_batch:
            features = self._compiled  # not for an epoch's last, smaller batch: another program
        return judge(self.model, features(laid_out(images, self._device)), labels)


def judge(model: Classifier, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """features (N, d), labels → the head's loss (a scalar), and which predictions are right.

    Of probabilities (N, K) in the labels' place, the largest is what is right.
    """
    return model.head.loss_and_hits(features, labels)


def layout(device: torch.device) -> torch.memory_format:
    """How images lie in memory: NVIDIA's 16-bit convolutions are made for channels last."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def laid_out(images: Tensor, device: torch.device) -> Tensor:
    return images if images.ndim != 4 else images.contiguous(memory_format=layout(device))


def compiled(backbone: nn.Module) -> Any:
    """The backbone through ``torch.compile``, for batches of one size.

    Backbones that differ in their weights only share one program, whatever their heads are.
    """
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.config.recompile_limit = max(limit, PROGRAMS)
    return torch.compile(backbone, dynamic=False)


def build_optimizer(model: Classifier, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over the trained weights of ``model``.

    sgd    v ← μ v + g + λ w;  w ← w − η (g + λ w + μ v) with Nesterov, w − η v without
    adam   Kingma & Ba 2015 on the gradient g + λ w (coupled L2)
    adamw  Loshchilov & Hutter 2019: w ← (1 − η λ) w, then Adam's step on g

    Raises:
        RequestError: nothing in the model is trained.
    """
    groups = parameter_groups(model, recipe.weight_decay)
    if not groups:
        raise RequestError("the model has no trained weights, so there is nothing to train")
    fused = all(weight.device.type in _FUSED_DEVICES for weight in model.parameters())
    options: dict[str, Any] = {"lr": recipe.lr, "fused": fused}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups, momentum=recipe.momentum, nesterov=recipe.nesterov, **options
        )
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, **options)


def parameter_groups(model: Classifier, weight_decay: float) -> list[dict[str, Any]]:
    """The decayed and the undecayed weights; a group without weights is left out.

    Decayed: every trained weight of the backbone, its biases and BatchNorm weights among them (as
    torch's optimisers do by default and the papers' code did), and learned class vectors.
    Not decayed: the head's scale and bias.
    """
    spared = {
        id(weight)
        for name, weight in model.head.named_parameters(recurse=False)
        if name in _UNDECAYED
    }
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [w for w in trained if id(w) not in spared], "weight_decay": weight_decay},
        {"params": [w for w in trained if id(w) in spared], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


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


PLATEAU_THRESHOLD = 1e-4
"""An epoch is better when its score is above the best by more than this (PyTorch's default)."""


class Schedule:
    """``factor(step)`` for every step of a run; ``observe(score)`` after every epoch."""

    def __init__(self, recipe: Recipe, steps_per_epoch: int) -> None:
        self._recipe = recipe
        self._steps_per_epoch = steps_per_epoch
        self._steps = recipe.epochs * steps_per_epoch
        self._warmup = round(recipe.warmup_epochs * steps_per_epoch)
        self._milestones = recipe.milestones or _half_and_three_quarters(recipe.epochs)
        self._plateau = Plateau(recipe.plateau_patience)

    def factor(self, step: int) -> float:
        """The factor of the learning rate at ``step``, counted from 0 over the whole run."""
        if step < self._warmup:
            return (step + 1) / self._warmup
        recipe = self._recipe
        if recipe.schedule == "cosine":
            done = (step - self._warmup) / (self._steps - self._warmup)
            return 0.5 * (1 + math.cos(math.pi * done))
        if recipe.schedule == "step":
            epoch = step // self._steps_per_epoch
            passed: int = sum(epoch >= milestone for milestone in self._milestones)
            return float(recipe.gamma**passed)
        if recipe.schedule == "plateau":
            return float(recipe.plateau_factor**self._plateau.lowered)
        return 1.0

    def observe(self, score: float | None) -> None:
        """Tell the schedule an epoch's validation score (higher is better)."""
        if score is not None:
            self._plateau.observe(score)

    def state_dict(self) -> dict[str, Any]:
        """What cannot be computed from the step alone."""
        return vars(self._plateau).copy()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._plateau = Plateau(**state)


@dataclass
class Plateau:
    """How often the score has gone ``patience`` + 1 epochs without a better value."""

    patience: int
    best: float = -math.inf
    waited: int = 0
    lowered: int = 0

    def observe(self, score: float) -> None:
        if score > self.best + PLATEAU_THRESHOLD:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.lowered, self.waited = self.lowered + 1, 0


def _half_and_three_quarters(epochs: int) -> tuple[int, ...]:
    return tuple(epoch for epoch in (epochs // 2, epochs * 3 // 4) if epoch >= 1)

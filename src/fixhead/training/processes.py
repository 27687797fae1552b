"""One run in several processes, a device each: what a process learns from, and how they are begun.

Every process walks through the same batches as one process would, and learns from its own images of
each. With n_i of a batch's N images in process i of p, and L_i its mean loss, the gradient is that
of

    L = Σ_i (n_i / N) L_i = (1/p) Σ_i (p n_i / N) L_i,

and DDP takes the mean over the processes, so each one's loss is multiplied by p n_i / N. Process 0
alone validates, tests and writes. DDP brings the first weights of process 0 to the others once;
buffers, frozen class vectors among them, and weights that are not trained are never sent again.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._errors import RequestError, require

require("lightning_fabric", extra="lab")  # says how to install it, before the imports below fail

from lightning_fabric import Fabric  # noqa: E402
from lightning_fabric.strategies.ddp import DDPStrategy  # noqa: E402

from .recipe import Recipe  # noqa: E402
from .step import NonFiniteLossError  # noqa: E402

GRACE_S = 10.0
"""Seconds between an error among several processes and its report."""

HOST, PORT, NODE = "MASTER_ADDR", "MASTER_PORT", "NODE_RANK"
"""What says where the first of several machines is, and which of them this one is."""


@dataclass(frozen=True)
class Share:
    """The images of a batch that process ``rank`` of ``world`` learns from."""

    rank: int = 0
    world: int = 1

    def slice(self, images: int) -> slice:
        """Every ``world``-th image; all of a batch that is too small for two in every process."""
        return slice(self.rank, None, self.world) if self._is_divided(images) else slice(None)

    def factor(self, images: int) -> float:
        """What a process's mean loss is multiplied by, so that the mean over processes is L."""
        if not self._is_divided(images):
            return 1.0
        return self.world * len(range(self.rank, images, self.world)) / images

    def hits(self, right: Tensor, images: int) -> Tensor:
        """What to add up and average over processes, to get how many of all images are right."""
        return right.sum() * (self.world if self._is_divided(images) else 1)

    def _is_divided(self, images: int) -> bool:
        return images >= 2 * self.world  # BatchNorm needs two


def is_one_of_several() -> bool:
    """Whether ``launch`` or torchrun started this process as one of a run's."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def processes_here() -> int:
    """How many of the run's processes this machine has."""
    return int(os.environ["LOCAL_WORLD_SIZE"])


def join(device: str, recipe: Recipe) -> Fabric:
    """Fabric for this process among the others, connected to them: gloo between processors, NCCL
    between NVIDIA's cards."""
    fabric = Fabric(
        accelerator=_kind(device),
        devices=processes_here(),
        num_nodes=int(os.environ["GROUP_WORLD_SIZE"]),
        strategy=DDPStrategy(broadcast_buffers=False),
        precision=recipe.precision,
    )
    fabric.launch()
    return fabric


@contextmanager
def giving_way(fabric: Fabric) -> Iterator[None]:
    """Wait with an error among several processes: where it came from the loss of another one,
    whoever started them ends this one too, and has more to say."""
    try:
        yield
    except NonFiniteLossError:  # which all of them have
        raise
    except Exception:
        if fabric.world_size > 1:
            time.sleep(GRACE_S)
        raise


def _kind(device: str) -> str:
    if device != "auto":
        return torch.device(device).type
    return "cuda" if torch.cuda.is_available() else "cpu"


def launch(device: str, devices: int, nodes: int) -> int:
    """Start this very command in ``devices`` processes, and give the exit status of them together.

    With several ``nodes``, the same command is started on each of them by the caller, with
    MASTER_ADDR, MASTER_PORT and NODE_RANK in its environment. Where a process is lost, the others
    are ended, and standard error says which it was.

    Raises:
        RequestError: fewer GPUs than that, or several nodes without those variables.
    """
    if _kind(device) == "cuda" and torch.cuda.device_count() < devices:
        raise RequestError(
            f"--devices {devices} needs as many GPUs, got {torch.cuda.device_count()}; use fewer, "
            "or --device cpu"
        )
    import logging

    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # we say it below
    command = ["-m", "fixhead", *sys.argv[1:]]
    try:
        elastic_launch(_configuration(devices, nodes), sys.executable)(*command)
    except ChildFailedError as error:
        rank, failure = min(error.failures.items(), key=lambda item: item[1].exitcode > 0)
        if failure.exitcode > 0:
            return int(failure.exitcode)  # it has said why
        print(
            f"fixhead: process {rank} of {devices * nodes} was ended by signal "
            f"{-failure.exitcode}, and the others with it; the same command goes on from the last "
            "checkpoint",
            file=sys.stderr,
        )
        return 1
    return 0


def _configuration(devices: int, nodes: int) -> Any:
    from torch.distributed.launcher.api import LaunchConfig

    options: dict[str, Any] = {
        "min_nodes": nodes, "max_nodes": nodes, "nproc_per_node": devices,
        "max_restarts": 0, "monitor_interval": 0.1,
        "run_id": "fixhead",  # the same on every machine
    }  # fmt: skip
    if nodes == 1:
        options |= {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
    else:
        host, port, node = _meeting_place(os.environ)
        options |= {"rdzv_backend": "static", "rdzv_endpoint": f"{host}:{port}"}
        options |= {"rdzv_configs": {"rank": node, "timeout": 900}}
    return LaunchConfig(**options)


def _meeting_place(environment: Mapping[str, str]) -> tuple[str, int, int]:
    missing = [name for name in (HOST, PORT, NODE) if not environment.get(name)]
    if missing:
        raise RequestError(
            f"--nodes needs {HOST} and {PORT}, the first machine, and {NODE}, which of them this "
            f"one is, in the environment of every machine; {missing[0]} is missing"
        )
    return environment[HOST], int(environment[PORT]), int(environment[NODE])

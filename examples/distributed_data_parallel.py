"""DistributedDataParallel on two CPU processes: frozen vectors have no gradient to reduce.

Swap first, wrap after. DDP sends buffers from rank 0 to all others at every step unless it is told
otherwise; the vectors never change, so once, at the start, is enough.

Run: python examples/distributed_data_parallel.py
"""

from __future__ import annotations

import inspect
import tempfile

import torch
from digits import SmallNet, digits
from torch import distributed, multiprocessing, nn
from torch.nn.functional import cross_entropy

from fixhead.heads.swap import swap_head

# One switch, which newer releases of torch call by another name.
_NAMES = inspect.signature(nn.parallel.DistributedDataParallel).parameters
NO_BROADCAST = (
    {"forward_sync_buffers": False}
    if "forward_sync_buffers" in _NAMES
    else {"broadcast_buffers": False}
)

STEPS, BATCH, PROCESSES = 10, 64, 2


def swapped_model() -> nn.Module:
    torch.manual_seed(0)
    model = SmallNet()
    swap_head(model, "simplex")
    return model


def train(model: nn.Module, rank: int, processes: int) -> None:
    """Each process takes its own rows of every batch; gradients are averaged."""
    (images, labels), _ = digits()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step in range(STEPS):
        rows = slice(step * BATCH + rank, (step + 1) * BATCH, processes)
        optimizer.zero_grad()
        cross_entropy(model(images[rows]), labels[rows]).backward()
        optimizer.step()


def work(rank: int, address: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=PROCESSES)
    model = swapped_model()
    parallel = nn.parallel.DistributedDataParallel(model, **NO_BROADCAST)
    train(parallel, rank, PROCESSES)
    alone = swapped_model()
    train(alone, 0, 1)
    for (name, ours), theirs in zip(model.named_parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4, msg=name)
    if rank == 0:
        reduced = sum(own.nbytes for own in model.parameters())
        print(f"two processes agree with one; {reduced:,} bytes of gradient reduced per step")
    distributed.destroy_process_group()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(work, args=(f"file://{folder}/meeting",), nprocs=PROCESSES)


if __name__ == "__main__":
    main()

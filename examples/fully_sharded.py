"""FSDP2 (``fully_shard``) on two CPU processes: parameters are sharded, fixed vectors stay whole.

Swap first, shard after. The vectors are a buffer that every rank builds for itself from the seed.

Run: python examples/fully_sharded.py
"""

from __future__ import annotations

import tempfile

import torch
from distributed_data_parallel import PROCESSES, swapped_model, train
from torch import distributed, multiprocessing
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor


def work(rank: int, address: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=PROCESSES)
    mesh = distributed.init_device_mesh("cpu", (PROCESSES,))
    model = swapped_model()
    fully_shard(model.hidden, mesh=mesh)
    fully_shard(model, mesh=mesh)
    assert all(isinstance(own, DTensor) for own in model.parameters())
    assert not isinstance(model.fc.vectors, DTensor)
    train(model, rank, PROCESSES)
    alone = swapped_model()
    train(alone, 0, 1)
    for (name, ours), theirs in zip(model.named_parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours.full_tensor(), theirs, atol=1e-5, rtol=1e-4, msg=name)
    if rank == 0:
        print("two sharded processes agree with one")
    distributed.destroy_process_group()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(work, args=(f"file://{folder}/meeting",), nprocs=PROCESSES)


if __name__ == "__main__":
    main()

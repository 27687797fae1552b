"""Time and memory of a step, where it runs: on the CPU, or on a CUDA device that runs behind."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import torch

from .._errors import RequestError

Step = Callable[[], None]


def checked(device: str) -> str:
    """A device that can be timed here.

    Raises:
        RequestError: neither ``cpu`` nor ``cuda``, or no CUDA in this torch.
    """
    if device != "cpu" and device.partition(":")[0] != "cuda":
        raise RequestError(f"--device must be cpu, cuda or cuda:N, got {device!r}")
    if device != "cpu" and not torch.cuda.is_available():
        raise RequestError(
            f"--device {device} needs a CUDA device that torch {torch.__version__} can use, "
            "got none; use --device cpu"
        )
    return device


def seconds(step: Step, calls: int, device: str) -> float:
    """Seconds per call: by CUDA's events, or by the clock on the CPU."""
    if device == "cpu":
        start = time.perf_counter()
        for _ in range(calls):
            step()
        return (time.perf_counter() - start) / calls
    with torch.cuda.device(device):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        for _ in range(calls):
            step()
        end.record()
        end.synchronize()
        return 1e-3 * float(begin.elapsed_time(end)) / calls


def alone_on_cuda(make: Callable[[], Step], device: str) -> tuple[int, float]:
    """Peak growth of allocated bytes while a step is built and run twice; its first run's ms."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step = make()
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    step()
    torch.cuda.synchronize(device)
    first = 1e3 * (time.perf_counter() - start)
    step()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before, first

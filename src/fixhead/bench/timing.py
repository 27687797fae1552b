"""The timing harness: steps in turn, with spread, and the memory of one step alone.

    samples = interleaved({"ours": ours, "plain": plain}, rounds=7)
    print(spread(samples["ours"], reference=samples["plain"]))

A step runs where it runs: on the CPU, or on a CUDA device that works behind.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from .._errors import RequestError

Step = Callable[[], object]


def check_device(device: str) -> None:
    """Refuse a device that cannot be timed here.

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


def interleaved(
    steps: Mapping[str, Step], *, rounds: int, sample_s: float = 0.05, device: str = "cpu"
) -> dict[str, list[float]]:
    """Seconds per call of each step, one sample a round, in turn: A B C A B C …

    A sample is the mean over as many calls as fill ``sample_s``, at least one; each step is called
    twice before the first round.
    """
    calls = {name: _calls_for(step, sample_s, device) for name, step in steps.items()}
    samples: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            samples[name].append(seconds(step, calls[name], device))
    return samples


def _calls_for(step: Step, sample_s: float, device: str) -> int:
    step()  # the first call is slower, and counts for nothing
    return max(1, round(sample_s / max(seconds(step, 1, device), 1e-7)))


def seconds(step: Step, calls: int, device: str = "cpu") -> float:
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


def spread(samples: list[float], reference: list[float] | None = None) -> dict[str, float]:
    """Median, least and greatest in milliseconds; the ratio to the reference round by round."""
    row = {
        "median_ms": 1e3 * statistics.median(samples),
        "min_ms": 1e3 * min(samples),
        "max_ms": 1e3 * max(samples),
    }
    if reference is not None:
        ratios = [sample / other for sample, other in zip(samples, reference, strict=True)]
        row["ratio_median"] = statistics.median(ratios)
        row["ratio_min"], row["ratio_max"] = min(ratios), max(ratios)
    return {name: round(value, 5) for name, value in row.items()}


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


def alone_on_cpu(make: Callable[[], Step]) -> tuple[int | None, float]:
    """The same by this process's resident memory, where Linux tells; call it in a process that
    has done nothing else yet.
    """
    gc.collect()
    _trim()
    before = _proc("/proc/self/status", "VmRSS")
    _reset_peak()
    step = make()
    start = time.perf_counter()
    step()
    first = 1e3 * (time.perf_counter() - start)
    step()
    peak = _proc("/proc/self/status", "VmHWM")
    return (None if before is None or peak is None else max(peak - before, 0)), first


def free_bytes(device: str) -> int | None:
    """Memory that is free on a device, where that is known."""
    if device != "cpu":
        return int(torch.cuda.mem_get_info(device)[0])
    return _proc("/proc/meminfo", "MemAvailable")


def _proc(file: str, field: str) -> int | None:
    """A field of a file in /proc, which is in KiB, as bytes."""
    try:
        lines = Path(file).read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(s.split()[1]) for s in lines if s.startswith(field + ":")), None)


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # then VmHWM is that of the whole process: an upper bound


def _trim() -> None:
    """Give freed memory back to the system, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

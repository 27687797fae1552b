"""One training step over K classes, forward and gradient to the features, by rival paths.

The paths are those of ``rivals``; they are timed in turn, and each one's memory alone.
"""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch

from .._errors import RequestError
from ..many_classes.native import library as native
from .rivals import CODES, DTYPES, LEARNED, PATHS, RIVALS, Shared, Sizes, rival
from .timing import alone_on_cpu, alone_on_cuda, check_device, free_bytes, interleaved

SAMPLE_S = 0.02
"""Seconds that a sample takes at least; a step that is shorter is repeated and averaged."""


@dataclass(frozen=True)
class Timing:
    """Of one path; ``ratio_to_plain`` is plain's median over this one's, so greater is faster.

    peak_bytes: the growth of the resident memory over an idle process, head included, in a process
    of its own; first_ms: its first step there, with whatever has to be imported. On CUDA both are
    taken in this process: the growth of allocated memory, and a step that nothing was built for.
    """

    path: str
    classes: int
    features: int
    rows: int
    median_ms: float
    min_ms: float
    max_ms: float
    first_ms: float
    peak_bytes: int | None
    ratio_to_plain: float | None
    device: str = "cpu"
    dtype: str = "float32"


def contest(
    sizes: Sizes, against: Sequence[str], *, rounds: int = 7, only: bool = False
) -> list[Timing]:
    """Time ``code``, ``native`` (the same, compiled), ``stored`` (where a matrix is stored anyway)
    and the rivals, in turn; with ``only``, nothing but ``against``.

    Raises:
        RequestError: an unknown path, a package that is missing, or not enough memory.
    """
    check_place(sizes)
    names = list(against) if only else paths(against, sizes.device)
    check_memory(sizes, names)
    alone = {name: measure_alone(name, sizes) for name in names}
    shared = Shared(sizes)
    steps = {name: PATHS[name](shared) for name in names}
    samples = interleaved(steps, rounds=rounds, sample_s=SAMPLE_S, device=sizes.device)
    plain = statistics.median(samples["plain"]) if "plain" in samples else None
    return [_timing(name, sizes, samples[name], alone[name], plain) for name in names]


def check_place(sizes: Sizes) -> None:
    """Refuse a device or type that cannot be timed here."""
    check_device(sizes.device)
    if sizes.dtype not in DTYPES:
        raise RequestError(f"--dtype must be one of {', '.join(DTYPES)}, got {sizes.dtype!r}")
    if sizes.device == "cpu" and sizes.dtype != "float32":
        raise RequestError(
            f"--dtype {sizes.dtype} needs --device cuda: on the CPU heads compute in float32"
        )


def paths(against: Sequence[str], device: str = "cpu") -> list[str]:
    """The paths of a contest: our own, then the rivals in the order asked for."""
    for name in against:
        if name not in PATHS:
            raise RequestError(f"--against must name {', '.join(PATHS)}, got {name!r}")
        if name in RIVALS:
            rival(RIVALS[name])
    own = ["code", "native"] if native.available() and device == "cpu" else ["code"]
    own += ["stored"] if against else []
    return own + [name for name in dict.fromkeys(against) if name not in own]


def check_memory(sizes: Sizes, names: Sequence[str]) -> None:
    """Refuse what would not fit beside each other: better than being killed."""
    matrix = sizes.kind.itemsize * sizes.classes * sizes.features
    logits = 4 * sizes.classes * sizes.rows
    need = 0
    if any(name not in CODES for name in names):
        need = matrix + (3 * logits if "plain" in names else 0)
        need += matrix if "adaptive-softmax" in names else 0
        moments = max((2 + LEARNED[name] for name in names if name in LEARNED), default=0)
        need += moments * 4 * sizes.classes * sizes.features
    free = free_bytes(sizes.device)
    if free is not None and need > free:
        raise RequestError(
            f"--against {','.join(names)} needs about {need / 2**30:.1f} GiB at these sizes, got "
            f"{free / 2**30:.1f} GiB free; use fewer classes, or --against '' for the code alone"
        )


def measure_alone(name: str, sizes: Sizes) -> tuple[int | None, float]:
    """Peak growth of memory, and the first step's milliseconds; on the CPU in a fresh process."""
    if sizes.device != "cpu":
        return alone_on_cuda(lambda: PATHS[name](Shared(sizes)), sizes.device)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_alone, args=(name, sizes, torch.get_num_threads(), theirs))
    process.start()
    theirs.close()
    try:
        memory_and_first: tuple[int | None, float] = ours.recv()
    except EOFError:
        raise RequestError(
            f"--against {name} did not finish a step at these sizes in a process of its own, "
            "perhaps for want of memory; use fewer classes or rows"
        ) from None
    finally:
        process.join()
    return memory_and_first


def _alone(name: str, sizes: Sizes, threads: int, answer: Connection) -> None:
    torch.set_num_threads(threads)
    PATHS["code"](Shared(Sizes(256, 32, 4)))()  # torch's own start counts for no path
    answer.send(alone_on_cpu(lambda: PATHS[name](Shared(sizes))))
    answer.close()


def _timing(
    name: str,
    sizes: Sizes,
    samples: list[float],
    alone: tuple[int | None, float],
    plain: float | None,
) -> Timing:
    median = statistics.median(samples)
    return Timing(
        path=name,
        classes=sizes.classes,
        features=sizes.features,
        rows=sizes.rows,
        median_ms=_digits(1e3 * median),
        min_ms=_digits(1e3 * min(samples)),
        max_ms=_digits(1e3 * max(samples)),
        first_ms=round(alone[1], 3),
        peak_bytes=alone[0],
        ratio_to_plain=None if plain is None else _digits(plain / median),
        device=sizes.device,
        dtype=sizes.dtype,
    )


def _digits(value: float) -> float:
    """Five digits, however small the number."""
    return float(f"{value:.5g}")

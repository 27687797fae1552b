"""Separate random streams from one seed, and a fence round the global generator."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream ``names`` of ``seed``: SHA-256 of the whole path.

    Neighbouring seeds and streams give unrelated numbers, on every machine alike.
    """
    path = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for one purpose, e.g. ``stream(0, "order", epoch)``."""
    return torch.Generator(device=device).manual_seed(derive(seed, *names))


def default_generator_or(generator: torch.Generator | None) -> torch.Generator:
    """``generator``, or seed 0 where none was given (the settled choice of the project)."""
    return torch.Generator().manual_seed(0) if generator is None else generator


@contextmanager
def forked(seed: int, *names: str | int) -> Iterator[None]:
    """Let code that only knows the global generator draw from our stream, then restore it.

    For third-party initialisers and dropout; the caller's global state is untouched after.
    """
    running = torch.cuda.is_initialized()  # type: ignore[no-untyped-call] # as torch has it
    devices = list(range(torch.cuda.device_count())) if running else []
    with torch.random.fork_rng(devices=devices):
        value = derive(seed, *names)
        torch.default_generator.manual_seed(value)
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(value)
        yield

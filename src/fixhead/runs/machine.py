"""What a record says about where it was made."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from .._version import __version__

_PACKAGES = ("torch", "numpy", "scipy", "lightning-fabric", "torchvision", "timm")


def versions() -> dict[str, str]:
    """Versions of fixhead, Python and the packages that a result can depend on."""
    found = {"fixhead": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of fixhead's own checkout, with ``+changed`` where files differ from it.

    A copy without its repository says what ``FIXHEAD_COMMIT`` says, or nothing.
    """
    here = Path(__file__).parent
    if not _git(here, "ls-files", "--", "machine.py"):
        # an installed copy, perhaps inside somebody else's repository
        return os.environ.get("FIXHEAD_COMMIT") or None
    head = _git(here, "rev-parse", "HEAD")
    if head is None:
        return None
    return head + ("+changed" if _git(here, "status", "--porcelain", "--", ".") else "")


def describe_device(device: torch.device) -> str:
    """``cpu (AMD EPYC, 2 threads)`` or the accelerator's own name."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({_processor()}, {torch.get_num_threads()} threads)"
    return device.type


def reset_peak_memory(device: torch.device) -> None:
    """Start a new high-water mark, where the platform can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: VmHWM starts anew
    except OSError:
        return


def peak_memory_bytes(device: torch.device) -> int | None:
    """The high-water mark: of the device's memory on CUDA, else of this process; None unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if sys.platform == "win32":
        return None
    import resource  # Unix only

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

"""What a record says about where it was made."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._version import __version__

if TYPE_CHECKING:  # a reader of records needs no torch
    import torch

_PACKAGES = ("torch", "numpy", "scipy", "lightning-fabric", "torchvision", "timm")


def versions() -> dict[str, str]:
    """Versions of fixhead, Python and the packages that a result can depend on."""
    installed = {"fixhead": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


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


def origin(device: torch.device, started_at: str) -> dict[str, Any]:
    """Where a record was made: what every record of a run ends with."""
    return {
        "device": describe_device(device),
        "versions": versions(),
        "commit": commit(),
        "started_at": started_at,
    }


def now() -> str:
    """The time of day in UTC, to the second, as records hold it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe_device(device: torch.device) -> str:
    """``cpu (AMD EPYC, 2 threads)`` or the accelerator's own name."""
    import torch

    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({_processor()}, {torch.get_num_threads()} threads)"
    return device.type


def reset_peak_memory(device: torch.device) -> None:
    """Start a new high-water mark, where the platform can."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: VmHWM starts anew
    except OSError:
        return


def peak_memory_bytes(device: torch.device) -> int | None:
    """The high-water mark: of the device's memory on CUDA, else of this process; None unknown."""
    if device.type == "cuda":
        import torch

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

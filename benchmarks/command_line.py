"""Whole-process times: `fixhead --help`, `import fixhead`, and the comparison of `make demo`.

Run: python benchmarks/command_line.py     (about 3 minutes on 2 cores)
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import records

FIXHEAD = str(Path(sys.executable).with_name("fixhead"))


# A child counts its parent's memory until it starts its own program, so that a small process
# stands between this one, which holds torch, and the command.
BETWEEN = """
import json, os, subprocess, sys, time
start = time.perf_counter()
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
process = subprocess.Popen(sys.argv[1:], **quiet)
_, status, usage = os.wait4(process.pid, 0)
unit = 1 if sys.platform == "darwin" else 1024
seconds = time.perf_counter() - start
print(json.dumps([seconds, usage.ru_maxrss * unit, os.waitstatus_to_exitcode(status)]))
"""


def seconds(command: list[str]) -> tuple[float, int]:
    """Wall seconds, and the peak resident bytes of the process."""
    between = [sys.executable, "-S", "-c", BETWEEN, *command]
    done = subprocess.run(between, check=True, capture_output=True, text=True)
    took, peak, status = json.loads(done.stdout)
    assert status == 0, command
    return took, peak


def repeated(command: list[str], rounds: int) -> dict[str, float]:
    measured = [seconds(command) for _ in range(rounds + 1)][1:]  # the first fills the disk's cache
    times = [time for time, _ in measured]
    return {
        "median_s": round(statistics.median(times), 3),
        "min_s": round(min(times), 3),
        "max_s": round(max(times), 3),
        "peak_mib": round(max(peak for _, peak in measured) / 2**20, 1),
    }


def main() -> None:
    options = records.arguments(__doc__, rounds=7)
    rows = [
        {"command": "fixhead --help", **repeated([FIXHEAD, "--help"], options.rounds)},
        {
            "command": "python -c 'import fixhead'",
            **repeated([sys.executable, "-c", "import fixhead"], options.rounds),
        },
        {
            "command": "python -c 'import torch'",
            **repeated([sys.executable, "-c", "import torch"], options.rounds),
        },
    ]
    if not options.quick:
        with tempfile.TemporaryDirectory() as folder:
            took, peak = seconds([FIXHEAD, "compare", "--out", str(Path(folder, "demo"))])
        row = {"command": "fixhead compare (6 arms × 3 seeds, digits)"}
        rows.append(row | {"median_s": round(took, 1), "peak_mib": round(peak / 2**20, 1)})
    for row in rows:
        print(row, flush=True)
    if not options.quick:
        print(records.write("command_line", rows))


if __name__ == "__main__":
    main()

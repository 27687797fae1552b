"""Wheels with the compiled path for Linux on x86-64 and aarch64: python wheels.py DIST

The same package twice, each with its own shared library by Zig's C compiler against glibc 2.17,
so that one machine builds for both; nothing of Python is in the library, hence py3-none.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent
TARGETS = {
    "x86_64": ("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64.manylinux2014_x86_64"),
    "aarch64": ("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64.manylinux2014_aarch64"),
}


def wheel(machine: str, where: Path) -> Path:
    """One wheel, built in a copy of the sources."""
    target, tag = TARGETS[machine]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "fixhead"
        ignored = shutil.ignore_patterns(".git", ".venv", "*.so", "build", "dist", "*.egg-info")
        shutil.copytree(ROOT, copy, ignore=ignored)
        compiler = f"{sys.executable} -m ziglang cc -target {target}"
        environment = {
            **os.environ,
            "CC": compiler,
            "LDSHARED": f"{compiler} -shared",
            "FIXHEAD_WHEEL_TAG": tag,
        }
        command = [sys.executable, "-m", "build", "--wheel", "--outdir", folder, str(copy)]
        subprocess.run(command, check=True, env=environment)
        (built,) = Path(folder).glob("*.whl")
        where.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(built, where))


def main() -> None:
    where = Path(sys.argv[1] if len(sys.argv) > 1 else "dist")
    for machine in TARGETS:
        print(wheel(machine, where))


if __name__ == "__main__":
    main()
